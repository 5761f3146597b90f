"""Features of regions, from region to pixel, initial weights, and what is refused."""

import numpy as np
import pytest
import region_head_cases as cases
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.structures import SegDataSample

from mmseg_ext.models import ClassWeightedCrossEntropyLoss
from mmseg_ext.ops import (
    free_form_roi_pool,
    region_geometry,
    region_grid_masks,
)


def pooled(maps, samples, whole, mode='exact', bins='mmcv'):
    """Free-form or box features of all regions, (R, D * 2 * 2), put together here."""
    grid, features = maps[0].shape[2:], []
    for n, sample in enumerate(samples):
        scale = 1 / cases.STRIDE if bins == 'mmcv' else [
            (-(-side // cases.STRIDE) - 1) / (side - 1) for side in sample.regions.cells.shape]
        boxes, masks = region_geometry(sample.regions, tuple(grid), cases.STRIDE)
        if mode == 'calvin':
            masks = region_grid_masks(sample.regions, boxes, (cases.GRID, cases.GRID))
        rois = F.pad(boxes.float(), (1, 0), value=n)
        features.append(free_form_roi_pool(
            maps[0], rois, None if whole else masks, cases.GRID, scale, mode, bins))
    return torch.cat(features).flatten(1)


@pytest.mark.parametrize('roi_layer', [
    cases.POOLING, cases.CALVIN, dict(cases.POOLING, mode='calvin'),
    dict(cases.POOLING, bins='calvin')])
@pytest.mark.parametrize('features', ['separate', 'tied', 'region', 'box'])
def test_features_composed_by_hand(features, roi_layer):
    maps, samples = cases.two_images()
    head = cases.make_head(features=features, roi_layer=roi_layer).double()
    region, box = (pooled(maps, samples, whole, head.roi_layer.mode, head.roi_layer.bins)
                   for whole in (False, True))
    layers = head.classifier
    expected = dict(separate=lambda: layers(torch.cat([region, box], dim=1)),
                    tied=lambda: layers(region) + layers(box),
                    region=lambda: layers(region), box=lambda: layers(box))[features]()
    scores = head(maps, [sample.regions for sample in samples], cases.BATCH)
    assert [image.shape for image in scores] == [(14, cases.CLASSES)] * 2
    torch.testing.assert_close(torch.cat(scores), expected)
    assert not torch.allclose(region, box)


def test_tied_has_the_weights_of_box_and_separate_doubles_the_first_layer():
    shapes = {name: [tuple(p.shape) for p in cases.make_head(features=name).parameters()]
              for name in ('separate', 'tied', 'region', 'box')}
    inputs = cases.CHANNELS * cases.GRID * cases.GRID
    assert shapes['box'] == [(8, inputs), (8, ), (8, 8), (8, ), (cases.CLASSES, 8),
                             (cases.CLASSES, )]
    assert shapes['tied'] == shapes['region'] == shapes['box']
    assert shapes['separate'] == [(8, 2 * inputs), *shapes['box'][1:]]


def test_region_differs_from_box_only_where_a_region_does_not_fill_its_box():
    """A block of 2x3 places of the map, all of the image, an L and a frame."""
    cells = torch.zeros(cases.BATCH, dtype=torch.int32)
    cells[16:48, 32:80] = 1
    cells[:, :16] = 2
    cells[48:, 16:] = 3
    regions = cases.region_set(cells, [[1], [0, 1, 2, 3], [2, 3], [0, 2, 3]])
    maps = (torch.randn(1, cases.CHANNELS, 4, 5), )
    region, box = (
        cases.make_head(features=name)(maps, [regions], cases.BATCH)[0]
        for name in ('region', 'box'))
    assert (region == box).all(dim=1).tolist() == [True, True, False, False]


@pytest.mark.parametrize('grid, batch', [
    ((4, 5), cases.BATCH), ((4, 5), (59, 66)), ((6, 6), (96, 96))])
def test_calvins_pooling_gets_masks_on_its_grid_and_the_scale_of_the_image(grid, batch):
    """Which is (w - 1) / (W - 1) however far the batch is padded."""
    regions = cases.random_regions((50, 66))
    head, seen = cases.make_head(features='region', roi_layer=cases.CALVIN), []
    head.roi_layer.register_forward_pre_hook(lambda layer, args: seen.append(args))
    head((torch.randn(1, cases.CHANNELS, *grid), ), [regions], batch)
    (_, rois, masks, scale), = seen
    boxes, _ = region_geometry(regions, grid, cases.STRIDE)
    factors = torch.tensor([4 / 65, 3 / 49, 4 / 65, 3 / 49])
    torch.testing.assert_close(rois[:, 1:] * scale, boxes * factors)
    assert torch.equal(masks, region_grid_masks(regions, boxes, (cases.GRID, cases.GRID)))


def test_calvins_pooling_of_an_image_of_one_cell():
    regions = cases.region_set(torch.zeros(16, 1, dtype=torch.int32), [[0]])
    head = cases.make_head(features='region', roi_layer=cases.CALVIN)
    maps = torch.rand(1, cases.CHANNELS, 1, 1)
    expected = head.classifier(maps.expand(1, cases.CHANNELS, cases.GRID, cases.GRID).flatten(1))
    torch.testing.assert_close(head((maps, ), [regions], (16, 1))[0], expected)


def test_an_image_without_padding_has_the_same_scores_in_any_batch():
    """Images do not see each other's regions."""
    maps, samples = cases.two_images()
    head, regions = cases.make_head().double(), [sample.regions for sample in samples]
    alone = head([maps[0][1:]], regions[1:], cases.BATCH)[0]
    for order in ([0, 1], [1, 0], [1, 1]):
        together = head([maps[0][order]], [regions[n] for n in order], cases.BATCH)
        torch.testing.assert_close(together[order.index(1)], alone)


# ------------------------------------------------------------------------- from region to pixel


def test_the_mask_rule_reaches_the_pooling():
    (maps, ), samples = cases.two_images()
    regions = [sample.regions for sample in samples]
    pooled = {}
    for mask_rule in ('half', 'any'):
        head = cases.make_head(features='region', mask_rule=mask_rule).double()
        head.classifier = nn.Identity()
        pooled[mask_rule] = torch.cat(head((maps, ), regions, cases.BATCH))
        rois, masks = [], []
        for n, image in enumerate(regions):
            boxes, mask = region_geometry(image, (4, 5), cases.STRIDE, mask_rule=mask_rule)
            rois.append(F.pad(boxes.double(), (1, 0), value=n))
            masks.append(mask)
        expected = free_form_roi_pool(
            maps, torch.cat(rois), torch.cat(masks), cases.GRID, 1 / cases.STRIDE).flatten(1)
        torch.testing.assert_close(pooled[mask_rule], expected)
    assert (pooled['half'] != pooled['any']).any()


def test_norm_layers_lie_behind_both_hidden_layers():
    (maps, ), samples = cases.two_images(torch.float32)
    regions = [sample.regions for sample in samples]
    head = cases.make_head(norm_cfg=dict(type='BN'), features='box')
    seen = []
    for name in ('1', '4'):  # what the activations get
        getattr(head.classifier, name).register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].clone()))
    for norm in (head.classifier.norm0.norm, head.classifier.norm3.norm):
        nn.init.ones_(norm.weight), nn.init.zeros_(norm.bias)
    head((maps, ), regions, cases.BATCH)
    for features in seen:  # of all regions of the batch
        torch.testing.assert_close(features.mean(dim=0), torch.zeros(8), atol=1e-4, rtol=0)
        assert ((features.var(dim=0) - 1).abs() < 0.1).all()  # without: 0.0001 to 4.4
    assert len(seen) == 2 and head.classifier.norm0.norm.num_batches_tracked == 1
    head.classifier(torch.zeros(0, cases.CHANNELS * cases.GRID * cases.GRID))  # without regions
    assert head.classifier.norm0.norm.num_batches_tracked == 1


def test_without_a_norm_config_there_is_none_and_the_names_are_vggs():
    names = {name.rsplit('.', 1)[0] for name in cases.make_head().state_dict()}
    assert names == {'classifier.0', 'classifier.3', 'classifier.6'}
    names = {name.rsplit('.', 1)[0]
             for name in cases.make_head(norm_cfg=dict(type='BN')).state_dict()}
    assert names == {'classifier.0', 'classifier.3', 'classifier.6', 'classifier.norm0.norm',
                     'classifier.norm3.norm'}


def test_decay_goes_from_the_maximum_to_the_mean():
    """Three regions of one pixel: ranked 6 3 0 and 4 2 1; weights 1 1/2 1/4, normalized."""
    scores, regions = [[6, 1], [0, 4], [3, 2]], cases.region_set([[0]], [[0]] * 3)
    for decay, expected in [(0, [6, 4]), (1, [3, 7 / 3]), (0.5, [7.5 / 1.75, 5.25 / 1.75])]:
        found = cases.predict_one(cases.head_of_scores(scores, decay=decay), regions)
        assert found[:, 0, 0].tolist() == pytest.approx(expected)


def test_what_has_no_region_gets_the_lowest_score_of_its_image():
    """A cell in no region, a pixel in no cell, padding; the other image has a lower score."""
    head = cases.head_of_scores([[5, 3], [2, 4], [-9, -8]])
    first = cases.region_set([[0, 0, 1, 2, -1]], [[0], [0, 1]])
    other = cases.region_set([[0, 0]], [[0]])
    samples = [cases.make_sample(image, np.zeros((2, 6)), (2, 6)) for image in (first, other)]
    maps = (torch.zeros(2, cases.CHANNELS, 1, 1, dtype=torch.float64), )
    pixels = cases.predict(head, maps, samples)
    assert pixels[0, :, 0].T.tolist() == [[5, 4], [5, 4], [2, 4]] + [[2, 2]] * 3
    assert pixels[0, :, 1].unique().tolist() == [2]
    assert pixels[1, :, 0].T.tolist() == [[-9, -8]] * 2 + [[-9, -9]] * 4




@pytest.mark.parametrize('kwargs, message', [
    (dict(mask_rule='most'), r"mask_rule must be one of \('half', 'any'\), got 'most'"),
    (dict(features='both'), "features must be one of .*'separate'.*, got 'both'"),
    (dict(decay=1.5), 'decay must be from 0 to 1, got 1.5'),
    (dict(decay=-1), 'got -1'),
    (dict(decay=.5, softmax_first=True), 'decay=0.5 with softmax_first=True'),
    (dict(stride=16.), 'stride must be a whole number from 1, got 16.0'),
    (dict(roi_layer=dict(type='FreeFormRoIPool', output_size=0)), 'positive numbers, got 0'),
    (dict(num_classes=2, out_channels=1), 'out_channels must be num_classes, 2, got 1'),
    (dict(region_loss=True, loss_decode=cases.CE), 'region_loss=True needs .*ClassWeighted'),
    (dict(region_loss=True, loss_decode=[cases.PER_CELL, cases.CE]), 'region_loss=True needs'),
    (dict(region_loss=True, sampler=dict(type='OHEMPixelSampler')), 'and no sampler'),
    (dict(roi_layer=dict(cases.POOLING, mode='fast')), "mode must be 'exact' or 'calvin'.*'fast'"),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        cases.make_head(**kwargs)


def test_a_map_of_another_stride_is_named():
    maps, samples = cases.two_images()
    with pytest.raises(ValueError, match='stride=8 .* map of 4x5 positions of .* 64x80'):
        cases.make_head(stride=8).double().loss(maps, samples, {})


def test_samples_without_regions_name_the_transforms():
    maps, samples = cases.two_images()
    head = cases.make_head().double()
    samples[1] = SegDataSample(
        gt_sem_seg=samples[1].gt_sem_seg, metainfo=dict(img_shape=cases.BATCH))
    for call in (lambda: head.loss(maps, samples, {}), lambda: cases.predict(head, maps, samples)):
        with pytest.raises(ValueError, match='LoadRegions or GenerateRegions .*PackRegionInputs'):
            call()


def test_wrong_numbers_of_class_weights_and_labels_are_named():
    maps, samples = cases.two_images()
    with pytest.raises(ValueError, match='one number for each of the 4 classes, got shape'):
        cases.make_head(loss_decode=dict(cases.PER_CELL, class_weight=[1., 2.])).double().loss(
            maps, samples, {})
    samples[0].gt_sem_seg.data[0, 30, 30] = 77
    assert isinstance(cases.make_head().loss_decode, ClassWeightedCrossEntropyLoss)
    with pytest.raises(ValueError, match='labels hold 77, which is neither one of the 4 classes'):
        cases.make_head().double().loss(maps, samples, {})
