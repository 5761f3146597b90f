import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import ClassWeightedCrossEntropyLoss, RegionHead
from mmseg_ext.ops import (
    RegionSet,
    extension_loaded,
    free_form_roi_pool,
    region_geometry,
    region_grid_masks,
)

STRIDE, CHANNELS, CLASSES, GRID = 16, 3, 4, 2
POOLING = dict(type='FreeFormRoIPool', output_size=GRID)
CALVIN = dict(POOLING, mode='calvin', bins='calvin')
PER_CELL = dict(type='ClassWeightedCrossEntropyLoss')
CE = dict(type='CrossEntropyLoss')
WEIGHTS = [0.5, 2., 7., 1.25]  # exact in float32
BATCH = (64, 80)
SIZES = [(64, 71), (50, 80)]  # of two images that are padded to BATCH

# ------------------------------------------------------------------------------ what heads get


def make_head(**kwargs):
    torch.manual_seed(0)
    kwargs = dict(dict(num_classes=CLASSES, roi_layer=POOLING, dropout_ratio=0), **kwargs)
    head = RegionHead(CHANNELS, 8, **kwargs)
    for parameter in head.parameters():  # larger than its init, so that regions differ
        nn.init.normal_(parameter, std=0.5)
    return head


class GivenScores(nn.Module):
    """Stands in for the layers: the scores of all regions, whatever is pooled."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, pooled):
        assert len(pooled) == len(self.scores)
        return self.scores


def head_of_scores(scores, **kwargs):
    scores = torch.as_tensor(scores, dtype=torch.float64)
    head = make_head(num_classes=scores.size(1), features='box', **kwargs)
    head.classifier = GivenScores(scores)
    return head


def region_set(cells, groups):
    """Regions from nested lists: the cell of each pixel, and the cells of each region."""
    return RegionSet(
        torch.as_tensor(cells).int(),
        torch.tensor([0, *np.cumsum([len(group) for group in groups])]).long(),
        torch.tensor([cell for group in groups for cell in sorted(group)]).long())


def random_regions(size, seed=0, number=14):
    """Blocks of 9x9 pixels and scattered ones as cells, the last in no region; the left has none.

    Regions overlap; the first is all of the others together.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    cells = y // 9 * -(-size[1] // 9) + x // 9
    scattered = rng.random(size) < 0.05
    cells[scattered] = rng.permutation(cells[scattered])
    cells[:, :3] = -1
    present, cells = np.unique(cells, return_inverse=True)
    cells = cells.reshape(size) - 1
    last = len(present) - 2
    groups = [np.arange(last)]
    groups += [rng.choice(last, rng.integers(1, last), replace=False) for _ in range(number - 1)]
    return region_set(cells, groups)


def random_labels(regions, batch=BATCH, seed=0):
    """Labels as mmseg pads them. What has no cell has no label, as PackRegionInputs makes it."""
    rng = np.random.default_rng(seed)
    label = np.full(batch, 255)
    height, width = regions.cells.shape
    label[:height, :width] = rng.integers(0, CLASSES, (height, width))
    label[20:24] = 255
    label[:height, :width][regions.cells.numpy() < 0] = 255
    return torch.from_numpy(label)


def make_sample(regions, label, batch=BATCH, **meta):
    return SegDataSample(
        gt_sem_seg=PixelData(data=torch.as_tensor(label)[None]),
        metainfo=dict(regions=regions, img_shape=tuple(regions.cells.shape), pad_shape=batch,
                      **meta))


def two_images(dtype=torch.float64):
    """Maps and samples of a batch whose images differ in size."""
    regions = [random_regions(size, seed) for seed, size in enumerate(SIZES)]
    samples = [make_sample(image, random_labels(image, seed=seed))
               for seed, image in enumerate(regions)]
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, CHANNELS, 4, 5, generator=generator, dtype=dtype, requires_grad=True)
    return (maps, ), samples


def predict(head, maps, samples):
    return head.predict(maps, [sample.metainfo for sample in samples], dict(mode='whole'))


def labels_of(samples):
    return torch.cat([sample.gt_sem_seg.data for sample in samples])


def blank_map(batch=BATCH):
    return (torch.zeros(1, CHANNELS, *(-(-side // STRIDE) for side in batch),
                        dtype=torch.float64), )


def predict_one(head, regions, batch=None):
    """Scores of the pixels of one image, (C, H, W)."""
    batch = batch or tuple(regions.cells.shape)
    return predict(head, blank_map(batch), [make_sample(regions, np.zeros(batch), batch)])[0]


def loss_of_one(head, regions, label):
    sample = make_sample(regions, label, tuple(regions.cells.shape))
    return head.loss(blank_map(regions.cells.shape), [sample], {})


# ------------------------------------------------------------------- equations 1 to 4, by loops


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


def regions_at(regions, y, x):
    """Numbers of the regions that contain a pixel."""
    cell, indptr, indices = regions.cells[y, x], regions.indptr, regions.indices
    return [r for r in range(len(indptr) - 1) if cell in indices[indptr[r]:indptr[r + 1]]]


def by_loops(scores, regions, equation):
    """Probabilities of Eq. 1 or Eq. 3 at each pixel, (H, W, C); NaN where there is no region.

    Of Eq. 1 they do not sum to 1.
    """
    number, classes = scores.shape
    result = np.full((*regions.cells.shape, classes), np.nan)
    probabilities = softmax(scores)
    for y, x in np.ndindex(*regions.cells.shape):
        containing = regions_at(regions, y, x)
        if not containing:
            continue
        best = np.full(classes, -np.inf)
        for r in containing:
            for c in range(classes):
                best[c] = max(best[c], (probabilities if equation == 1 else scores)[r, c])
        result[y, x] = best if equation == 1 else softmax(best)
    return result


# A pixel in region 0 alone, in both, in region 1 alone. Region 0 has the higher scores, region 1
# the more different ones: probabilities .731 .269 and .018 .982. Where both are, Eq. 3 compares
# 4 with 3 and says class 0, Eq. 1 compares .731 with .982 and says class 1.
TWO_SCORES = np.array([[4., 3.], [-3., 1.]])
TWO_REGIONS = region_set([[0, 1, 2]], [[0, 1], [1, 2]])
ARGMAX = {1: [[0, 1, 1]], 3: [[0, 0, 1]]}


def test_softmax_first_switches_between_equations_1_and_3_which_differ():
    np.testing.assert_allclose(
        by_loops(TWO_SCORES, TWO_REGIONS, 1)[0],
        [[.7311, .2689], [.7311, .9820], [.0180, .9820]], atol=1e-4)
    np.testing.assert_allclose(
        by_loops(TWO_SCORES, TWO_REGIONS, 3)[0],
        [[.7311, .2689], [.7311, .2689], [.0180, .9820]], atol=1e-4)
    for equation in (1, 3):
        head = head_of_scores(TWO_SCORES, softmax_first=equation == 1)
        found = predict_one(head, TWO_REGIONS).argmax(dim=0)
        assert found.tolist() == ARGMAX[equation]
        assert by_loops(TWO_SCORES, TWO_REGIONS, equation).argmax(-1).tolist() == found.tolist()


@pytest.mark.parametrize('equation', [1, 3])
def test_both_equations_by_loops(equation):
    regions = random_regions((20, 31), number=5)
    scores = np.random.default_rng(1).normal(0, 3, (5, CLASSES))
    found = predict_one(head_of_scores(scores, softmax_first=equation == 1), regions).detach()
    found = (found.exp() if equation == 1 else found.softmax(dim=0)).permute(1, 2, 0).numpy()
    expected = by_loops(scores, regions, equation)
    covered = ~np.isnan(expected).any(axis=-1)
    assert 0.5 < covered.mean() < 1
    np.testing.assert_allclose(found[covered], expected[covered])
    other = by_loops(scores, regions, 4 - equation)
    assert (other.argmax(axis=-1) != expected.argmax(axis=-1))[covered].any()


def test_after_a_softmax_the_loss_is_that_of_the_maximum_not_normalized_again():
    """As in the released code."""
    head = head_of_scores(TWO_SCORES, softmax_first=True)
    losses = loss_of_one(head, TWO_REGIONS, [[0, 0, 1]])
    expected = -np.log([.7310586, .7310586, .9820138]).mean()
    assert losses['loss_ce'].item() == pytest.approx(expected, rel=1e-6)
    assert losses['acc_seg'].item() == pytest.approx(100 * 2 / 3)


def test_equation_4_sends_the_gradient_to_the_region_that_won():
    """Eq. 5: where both regions are, region 0 wins in both classes; one third of each pixel."""
    head = head_of_scores(TWO_SCORES)
    loss_of_one(head, TWO_REGIONS, [[0, 0, 1]])['loss_ce'].backward()
    p = .2689414  # of class 1 in region 0
    expected = [[-2 * p / 3, 2 * p / 3], [.0179862 / 3, -.0179862 / 3]]
    np.testing.assert_allclose(head.classifier.scores.grad, expected, rtol=1e-5)


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
def test_the_loss_of_regions_is_equation_2_by_loops(per_image, class_weight):
    """The second image has two regions of which no pixel has a label; they do not count."""
    maps, samples = two_images()
    regions = samples[1].regions
    indptr, indices = regions.indptr, regions.indices
    unlabelled = torch.isin(regions.cells, indices[indptr[4]:indptr[5]][:2].int())
    groups = [indices[a:b].tolist() for a, b in zip(indptr, indptr[1:])]
    few = groups[4][:2]
    regions = region_set(regions.cells, groups + [few[:1], few])
    label = samples[1].gt_sem_seg.data[0].clone()
    label[:SIZES[1][0]][:, :SIZES[1][1]][unlabelled] = 255
    samples[1] = make_sample(regions, label)

    head = make_head(region_loss=True, softmax_first=True, loss_decode=dict(
        PER_CELL, per_image=per_image, class_weight=class_weight)).double()
    losses = head.loss(maps, samples, {})
    sums, counts, right = np.zeros(2), np.zeros(2), 0
    scores = head(maps, [sample.regions for sample in samples], BATCH)
    for n, (sample, image) in enumerate(zip(samples, scores)):
        cells, indptr, indices = sample.regions
        height, width = cells.shape
        label = sample.gt_sem_seg.data[0, :height, :width]
        for r, probabilities in enumerate(softmax(image.detach().numpy())):
            inside = torch.isin(cells, indices[indptr[r]:indptr[r + 1]].int())
            found = label[inside & (label != 255)].tolist()
            if not found:
                continue
            c = max(range(CLASSES), key=found.count)
            weight = class_weight[c] if class_weight else 1
            sums[n] -= weight * np.log(probabilities[c])
            counts[n] += weight
            right += probabilities.argmax() == c
    assert len(scores[1]) == 16
    expected = (sums / counts).mean() if per_image else sums.sum() / counts.sum()
    assert losses['loss_ce'].item() == pytest.approx(expected)
    assert losses['acc_seg'].item() == pytest.approx(100 * right / (14 + 14))


# --------------------------------------------------------- the loss of cells is that of pixels


def by_pixels(scores, label, class_weight, per_image, normalization):
    """Cross entropy with the weights of Sec. 3.4 at each pixel."""
    weight = torch.tensor(class_weight or [1.] * CLASSES, dtype=scores.dtype)
    valid = label != 255
    weight = torch.where(valid, weight[label.where(valid, label.new_zeros(()))], 0)
    total = weight if normalization == 'weights' else valid.to(weight)
    total = total.sum(dim=(1, 2), keepdim=True) if per_image else total.sum() / len(label)
    weight = weight / total / len(label)
    if normalization == 'weights':
        assert weight.sum().item() == pytest.approx(1)
    return (weight * F.cross_entropy(scores, label, ignore_index=255, reduction='none')).sum()


@pytest.mark.parametrize('normalization', ['weights', 'pixels'])
@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
def test_the_loss_of_cells_is_that_of_all_pixels(class_weight, per_image, normalization):
    """Two images of different sizes with ignored pixels; values and all gradients."""
    maps, samples = two_images()
    head = make_head(loss_decode=dict(
        PER_CELL, class_weight=class_weight, per_image=per_image,
        normalization=normalization)).double()
    assert head.loss_per_cell
    leaves = [*maps, *head.parameters()]
    losses = head.loss(maps, samples, {})
    scores, label = predict(head, maps, samples), labels_of(samples)
    expected = by_pixels(scores, label, class_weight, per_image, normalization)
    torch.testing.assert_close(losses['loss_ce'], expected, rtol=1e-10, atol=0)
    for found, gradient in zip(torch.autograd.grad(losses['loss_ce'], leaves),
                               torch.autograd.grad(expected, leaves)):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found, gradient, rtol=1e-8, atol=1e-12)
    valid = label != 255
    accuracy = (scores.argmax(dim=1) == label)[valid].double().mean()
    assert losses['acc_seg'].item() == pytest.approx(100 * accuracy.item())


def test_the_default_loss_is_the_mean_over_the_labelled_pixels_of_each_image():
    maps, samples = two_images()
    head = make_head().double()
    expected = by_pixels(predict(head, maps, samples), labels_of(samples), None, True, 'weights')
    torch.testing.assert_close(head.loss(maps, samples, {})['loss_ce'], expected)


@pytest.mark.parametrize('decay', [0.5, 1.])
def test_the_losses_agree_for_the_soft_variant_too(decay):
    maps, samples = two_images()
    head = make_head(decay=decay, loss_decode=PER_CELL).double()
    expected = F.cross_entropy(
        predict(head, maps, samples), labels_of(samples), ignore_index=255)
    torch.testing.assert_close(head.loss(maps, samples, {})['loss_ce'], expected)


def test_losses_per_cell_of_one_name_are_added_as_in_mmseg():
    maps, samples = two_images()
    one = make_head(loss_decode=PER_CELL).double().loss(maps, samples, {})
    two = make_head(loss_decode=[
        PER_CELL, dict(PER_CELL, loss_weight=2.), dict(PER_CELL, loss_name='loss_other')
    ]).double().loss(maps, samples, {})
    torch.testing.assert_close(two['loss_ce'], 3 * one['loss_ce'])
    torch.testing.assert_close(two['loss_other'], one['loss_ce'])


@pytest.mark.parametrize('loss_decode, sampler', [
    (CE, None),
    (dict(type='DiceLoss'), None),
    (dict(type='BootstrappedCrossEntropyLoss', thresh=0.3, min_kept=100), None),
    ([CE, dict(type='DiceLoss', loss_weight=3.)], None),
    ([PER_CELL, dict(type='DiceLoss')], None),
    (PER_CELL, dict(type='OHEMPixelSampler', thresh=0.3, min_kept=100)),
    (CE, dict(type='OHEMPixelSampler', min_kept=100)),
    (CE, dict(type='BootstrapPixelSampler', thresh=0.3, min_kept=100)),
])
def test_other_losses_and_samplers_see_the_pixels_as_those_of_an_fcn(loss_decode, sampler):
    maps, samples = two_images(torch.float32)
    losses = dict(loss_decode=loss_decode, sampler=sampler)
    head = make_head(**losses)
    assert not head.loss_per_cell
    fcn = FCNHead(in_channels=CHANNELS, channels=CHANNELS, num_classes=CLASSES, **losses)
    expected = fcn.loss_by_feat(predict(head, maps, samples), samples)
    found = head.loss(maps, samples, {})
    assert set(found) == set(expected)
    for name in found:
        torch.testing.assert_close(found[name], expected[name])
    sum(value for name, value in found.items() if 'loss' in name).backward()
    assert all(p.grad.abs().max() > 0 for p in head.parameters())


# ------------------------------------------------------------------------------------ features


def pooled(maps, samples, whole, mode='exact', bins='mmcv'):
    """Free-form or box features of all regions, (R, D * 2 * 2), put together here."""
    grid, features = maps[0].shape[2:], []
    for n, sample in enumerate(samples):
        scale = 1 / STRIDE if bins == 'mmcv' else [
            (-(-side // STRIDE) - 1) / (side - 1) for side in sample.regions.cells.shape]
        boxes, masks = region_geometry(sample.regions, tuple(grid), STRIDE)
        if mode == 'calvin':
            masks = region_grid_masks(sample.regions, boxes, (GRID, GRID))
        rois = F.pad(boxes.float(), (1, 0), value=n)
        features.append(free_form_roi_pool(
            maps[0], rois, None if whole else masks, GRID, scale, mode, bins))
    return torch.cat(features).flatten(1)


@pytest.mark.parametrize('roi_layer', [POOLING, CALVIN, dict(POOLING, mode='calvin'),
                                       dict(POOLING, bins='calvin')])
@pytest.mark.parametrize('features', ['separate', 'tied', 'region', 'box'])
def test_features_composed_by_hand(features, roi_layer):
    maps, samples = two_images()
    head = make_head(features=features, roi_layer=roi_layer).double()
    region, box = (pooled(maps, samples, whole, head.roi_layer.mode, head.roi_layer.bins)
                   for whole in (False, True))
    layers = head.classifier
    expected = dict(separate=lambda: layers(torch.cat([region, box], dim=1)),
                    tied=lambda: layers(region) + layers(box),
                    region=lambda: layers(region), box=lambda: layers(box))[features]()
    scores = head(maps, [sample.regions for sample in samples], BATCH)
    assert [image.shape for image in scores] == [(14, CLASSES)] * 2
    torch.testing.assert_close(torch.cat(scores), expected)
    assert not torch.allclose(region, box)


def test_tied_has_the_weights_of_box_and_separate_doubles_the_first_layer():
    shapes = {name: [tuple(p.shape) for p in make_head(features=name).parameters()]
              for name in ('separate', 'tied', 'region', 'box')}
    inputs = CHANNELS * GRID * GRID
    assert shapes['box'] == [(8, inputs), (8, ), (8, 8), (8, ), (CLASSES, 8), (CLASSES, )]
    assert shapes['tied'] == shapes['region'] == shapes['box']
    assert shapes['separate'] == [(8, 2 * inputs), *shapes['box'][1:]]


def test_region_differs_from_box_only_where_a_region_does_not_fill_its_box():
    """A block of 2x3 places of the map, all of the image, an L and a frame."""
    cells = torch.zeros(BATCH, dtype=torch.int32)
    cells[16:48, 32:80] = 1
    cells[:, :16] = 2
    cells[48:, 16:] = 3
    regions = region_set(cells, [[1], [0, 1, 2, 3], [2, 3], [0, 2, 3]])
    maps = (torch.randn(1, CHANNELS, 4, 5), )
    region, box = (
        make_head(features=name)(maps, [regions], BATCH)[0] for name in ('region', 'box'))
    assert (region == box).all(dim=1).tolist() == [True, True, False, False]


@pytest.mark.parametrize('grid, batch', [((4, 5), BATCH), ((4, 5), (59, 66)), ((6, 6), (96, 96))])
def test_calvins_pooling_gets_masks_on_its_grid_and_the_scale_of_the_image(grid, batch):
    """Which is (w - 1) / (W - 1), whatever the batch is padded to."""
    regions = random_regions((50, 66))
    head, seen = make_head(features='region', roi_layer=CALVIN), []
    head.roi_layer.register_forward_pre_hook(lambda layer, args: seen.append(args))
    head((torch.randn(1, CHANNELS, *grid), ), [regions], batch)
    (_, rois, masks, scale), = seen
    boxes, _ = region_geometry(regions, grid, STRIDE)
    factors = torch.tensor([4 / 65, 3 / 49, 4 / 65, 3 / 49])
    torch.testing.assert_close(rois[:, 1:] * scale, boxes * factors)
    assert torch.equal(masks, region_grid_masks(regions, boxes, (GRID, GRID)))


def test_calvins_pooling_of_an_image_of_one_cell():
    regions = region_set(torch.zeros(16, 1, dtype=torch.int32), [[0]])
    head = make_head(features='region', roi_layer=CALVIN)
    maps = torch.rand(1, CHANNELS, 1, 1)
    expected = head.classifier(maps.expand(1, CHANNELS, GRID, GRID).flatten(1))
    torch.testing.assert_close(head((maps, ), [regions], (16, 1))[0], expected)


def test_an_image_without_padding_has_the_same_scores_in_any_batch():
    """Images do not see each other's regions."""
    maps, samples = two_images()
    head, regions = make_head().double(), [sample.regions for sample in samples]
    alone = head([maps[0][1:]], regions[1:], BATCH)[0]
    for order in ([0, 1], [1, 0], [1, 1]):
        together = head([maps[0][order]], [regions[n] for n in order], BATCH)
        torch.testing.assert_close(together[order.index(1)], alone)


# ------------------------------------------------------------------------- from region to pixel


def test_the_mask_rule_reaches_the_pooling():
    (maps, ), samples = two_images()
    regions = [sample.regions for sample in samples]
    pooled = {}
    for mask_rule in ('half', 'any'):
        head = make_head(features='region', mask_rule=mask_rule).double()
        head.classifier = nn.Identity()
        pooled[mask_rule] = torch.cat(head((maps, ), regions, BATCH))
        rois, masks = [], []
        for n, image in enumerate(regions):
            boxes, mask = region_geometry(image, (4, 5), STRIDE, mask_rule=mask_rule)
            rois.append(F.pad(boxes.double(), (1, 0), value=n))
            masks.append(mask)
        expected = free_form_roi_pool(
            maps, torch.cat(rois), torch.cat(masks), GRID, 1 / STRIDE).flatten(1)
        torch.testing.assert_close(pooled[mask_rule], expected)
    assert (pooled['half'] != pooled['any']).any()


def test_norm_layers_lie_behind_both_hidden_layers():
    (maps, ), samples = two_images(torch.float32)
    regions = [sample.regions for sample in samples]
    head = make_head(norm_cfg=dict(type='BN'), features='box')
    seen = []
    for name in ('1', '4'):  # what the activations get
        getattr(head.classifier, name).register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].clone()))
    for norm in (head.classifier.norm0.norm, head.classifier.norm3.norm):
        nn.init.ones_(norm.weight), nn.init.zeros_(norm.bias)
    head((maps, ), regions, BATCH)
    for features in seen:  # of all regions of the batch
        torch.testing.assert_close(features.mean(dim=0), torch.zeros(8), atol=1e-4, rtol=0)
        assert ((features.var(dim=0) - 1).abs() < 0.1).all()  # without: 0.0001 to 4.4
    assert len(seen) == 2 and head.classifier.norm0.norm.num_batches_tracked == 1
    head.classifier(torch.zeros(0, CHANNELS * GRID * GRID))  # without regions
    assert head.classifier.norm0.norm.num_batches_tracked == 1


def test_without_a_norm_config_there_is_none_and_the_names_are_vggs():
    names = {name.rsplit('.', 1)[0] for name in make_head().state_dict()}
    assert names == {'classifier.0', 'classifier.3', 'classifier.6'}
    names = {name.rsplit('.', 1)[0] for name in make_head(norm_cfg=dict(type='BN')).state_dict()}
    assert names == {'classifier.0', 'classifier.3', 'classifier.6', 'classifier.norm0.norm',
                     'classifier.norm3.norm'}


def test_decay_goes_from_the_maximum_to_the_mean():
    """Three regions of one pixel: ranked 6 3 0 and 4 2 1; weights 1 1/2 1/4, normalized."""
    scores, regions = [[6, 1], [0, 4], [3, 2]], region_set([[0]], [[0]] * 3)
    for decay, expected in [(0, [6, 4]), (1, [3, 7 / 3]), (0.5, [7.5 / 1.75, 5.25 / 1.75])]:
        found = predict_one(head_of_scores(scores, decay=decay), regions)
        assert found[:, 0, 0].tolist() == pytest.approx(expected)


def test_what_has_no_region_gets_the_lowest_score_of_its_image():
    """A cell in no region, a pixel in no cell, padding; the other image has a lower score."""
    head = head_of_scores([[5, 3], [2, 4], [-9, -8]])
    first = region_set([[0, 0, 1, 2, -1]], [[0], [0, 1]])
    other = region_set([[0, 0]], [[0]])
    samples = [make_sample(image, np.zeros((2, 6)), (2, 6)) for image in (first, other)]
    maps = (torch.zeros(2, CHANNELS, 1, 1, dtype=torch.float64), )
    pixels = predict(head, maps, samples)
    assert pixels[0, :, 0].T.tolist() == [[5, 4], [5, 4], [2, 4]] + [[2, 2]] * 3
    assert pixels[0, :, 1].unique().tolist() == [2]
    assert pixels[1, :, 0].T.tolist() == [[-9, -8]] * 2 + [[-9, -9]] * 4


@pytest.mark.parametrize('kwargs', [
    dict(), dict(softmax_first=True), dict(decay=0.5), dict(region_loss=True),
    dict(features='tied'), dict(roi_layer=CALVIN),
    dict(loss_decode=dict(PER_CELL, class_weight=WEIGHTS)),
    dict(loss_decode=CE), dict(sampler=dict(type='BootstrapPixelSampler', min_kept=9)),
], ids=str)
@pytest.mark.parametrize('empty', ['labels', 'regions', 'cells'])
def test_where_nothing_counts_the_loss_is_0_and_every_parameter_has_a_gradient(empty, kwargs):
    """Else training on several GPUs hangs. Regions: none, though cells with labels are there."""
    maps, samples = two_images(torch.float32)
    head = make_head(**kwargs)
    for n, sample in enumerate(samples):
        label, regions = torch.full(BATCH, 255), sample.regions
        if empty == 'cells':
            regions = region_set(torch.full(SIZES[n], -1), [])
        if empty == 'regions':
            regions, label = region_set(sample.regions.cells, []), sample.gt_sem_seg.data[0]
        samples[n] = make_sample(regions, label)
    losses = head.loss(maps, samples, {})
    loss = losses['loss_ce']
    loss.backward()
    if empty == 'regions' and not kwargs.get('region_loss'):
        # all scores are equal there; nothing to be learnt, but a loss that is no accident
        assert torch.isfinite(loss)
    else:
        assert loss == 0
    if head.loss_per_cell and empty != 'regions':
        assert losses['acc_seg'] == 0  # mmseg's own says 100
    assert not hasattr(head.conv_seg, 'weight') and len(list(head.parameters())) == 6
    for parameter in [*maps, *head.parameters()]:
        assert parameter.grad is not None and parameter.grad.eq(0).all()


@pytest.mark.parametrize('region_loss', [False, True])
def test_an_image_without_regions_leaves_the_other_as_it_is(region_loss):
    """The mean is over both images."""
    maps, samples = two_images()
    head = make_head(region_loss=region_loss).double()
    maps = (maps[0].detach(), )
    alone = head.loss((maps[0][:1], ), samples[:1], {})
    samples[1] = make_sample(region_set(torch.full(SIZES[1], -1), []), torch.full(BATCH, 255))
    both = head.loss(maps, samples, {})
    torch.testing.assert_close(both['loss_ce'], alone['loss_ce'] / 2)
    torch.testing.assert_close(both['acc_seg'], alone['acc_seg'])
    assert predict(head, maps, samples)[1].eq(0).all()


# ----------------------------------------------------------------- inside the stock segmentor

PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[127.] * 3, std=[60.] * 3, bgr_to_rgb=True, pad_val=0,
    seg_pad_val=255, size_divisor=16)
SCENES = 12  # classes
GENERATE = dict(type='GenerateRegions', scale=30, min_size=30)
TRAIN = [dict(GENERATE, colour_space='random'), dict(type='RandomFlip', prob=0.5),
         dict(type='PackRegionInputs', gt_regions=True)]
TEST = [GENERATE, dict(type='PackRegionInputs')]


def make_model(test_cfg=None, preprocessor=None, **kwargs):
    torch.manual_seed(0)
    head = dict(type='RegionHead', in_channels=32, channels=8, num_classes=SCENES,
                roi_layer=POOLING, dropout_ratio=0,
                init_cfg=dict(type='Normal', layer='Linear', std=0.3))
    model = MODELS.build(dict(
        type='EncoderDecoder',
        data_preprocessor=dict(PREPROCESSOR, **preprocessor or {}),
        backbone=dict(type='VGG', depth=11, base_channels=4, out_indices=(4, ),
                      norm_cfg=dict(type='BN')),
        decode_head=dict(head, **kwargs),
        train_cfg={},
        test_cfg=ConfigDict(test_cfg or dict(mode='whole'))))
    model.init_weights()
    return model


def scene(pipeline, size=(60, 76), index=0):
    return DATASETS.build(dict(
        type='ScenesDataset', num_images=2, size=size, pipeline=pipeline))[index]


def training_batch(sizes=((60, 76), (50, 90))):
    np.random.seed(0)
    return pseudo_collate([scene(TRAIN, size, index) for index, size in enumerate(sizes)])


def test_it_trains_in_an_encoder_decoder_on_images_of_different_sizes():
    """64x96 after padding. As every parameter has a gradient, DistributedDataParallel works."""
    model = make_model()
    data = model.data_preprocessor(training_batch(), training=True)
    assert data['inputs'].shape == (2, 3, 64, 96)
    losses = model(**data, mode='loss')
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}
    losses['decode.loss_ce'].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for n, p in model.named_parameters()
               if not n.endswith('bias') or n.startswith('decode_head'))
    parsed, log = model.parse_losses(losses)
    assert parsed == losses['decode.loss_ce'] and 0 <= log['decode.acc_seg'] <= 100


def test_whole_batch_of_an_encoder_decoder_by_pixels():
    model = make_model(loss_decode=PER_CELL).eval().double()
    data = model.data_preprocessor(training_batch(), training=True)
    images, samples = data['inputs'].double(), data['data_samples']
    scores = model.encode_decode(images, [sample.metainfo for sample in samples])
    expected = F.cross_entropy(scores, labels_of(samples).long(), ignore_index=255)
    torch.testing.assert_close(model.loss(images, samples)['decode.loss_ce'], expected)


@pytest.mark.parametrize('size', [(60, 76), (64, 80), (17, 100)])
@pytest.mark.parametrize('preprocessor', [{}, dict(test_cfg=dict(size_divisor=32))],
                         ids=['as it is', 'padded'])
def test_it_predicts_in_an_encoder_decoder_at_any_size(size, preprocessor):
    model = make_model(preprocessor=preprocessor).eval()
    result, = model.test_step(pseudo_collate([scene(TEST, size)]))
    scores, cells = result.seg_logits.data, result.regions.cells
    assert scores.shape == (SCENES, *size) and cells.shape == size
    assert torch.equal(result.pred_sem_seg.data[0], scores.argmax(dim=0))
    for cell in range(int(cells.max()) + 1):  # pixels of a cell have the same scores
        assert (scores[:, cells == cell] == scores[:, cells == cell][:, :1]).all()
    assert scores.flatten(1).unique(dim=1).size(1) > 1


def test_a_prediction_is_resized_to_the_original_image():
    resize = dict(type='Resize', scale=(95, 70))
    model = make_model().eval()
    result, = model.test_step(pseudo_collate([scene([GENERATE, resize, TEST[1]])]))
    assert result.regions.cells.shape == (70, 95)
    assert result.seg_logits.data.shape == (SCENES, 60, 76)


FLIPS = [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)]


@pytest.mark.parametrize('scale', [(190, 150), (76, 60), (57, 45), (40, 30)])
def test_an_image_that_was_resized_is_labelled_at_its_own_size(scale):
    """Scores interpolated between two regions are those of no region, and blur their border."""
    resize = dict(type='Resize', scale=scale, keep_ratio=False)
    item = scene([GENERATE, resize, TEST[1]])
    cells = torch.from_numpy(scene([GENERATE])['region_cells'].astype(np.int64))
    with torch.no_grad():
        result, = make_model().eval().test_step(pseudo_collate([item]))
    found = result.seg_logits.data.flatten(1)
    assert found.shape[1] == cells.numel()
    allowed = {tuple(column) for column in found.T.tolist()}
    assert len(allowed) <= len(item['data_samples'].regions.cells.unique())
    if scale[0] >= cells.shape[1]:  # every pixel is still there: cells are what they were
        for cell in cells.unique():
            assert len(found[:, cells.flatten() == cell].unique(dim=1).T) == 1


@pytest.mark.parametrize('direction, dim', [('horizontal', 2), ('vertical', 1)])
def test_a_prediction_of_a_flipped_image_is_flipped_back_with_its_regions(direction, dim):
    """Once as a flipped image, once as an image that happens to look like that."""
    flip = dict(type='RandomFlip', prob=1., direction=direction)
    model = make_model().eval()
    item = scene([GENERATE, flip, TEST[1]])
    plain = copy.deepcopy(item)
    plain['data_samples'].set_metainfo(dict(flip=False, flip_direction=None))
    flipped, = model.test_step(pseudo_collate([item]))
    plain, = model.test_step(pseudo_collate([plain]))
    assert flipped.flip and not plain.flip
    assert torch.equal(flipped.seg_logits.data, plain.seg_logits.data.flip(dim))
    # its cells are those of the image as it was
    cells = flipped.regions.cells.flip(dim - 1)
    assert (flipped.seg_logits.data[:, cells == 0].unique(dim=1)).size(1) == 1


def test_mmsegs_flip_test_averages_what_the_two_views_predict_alone():
    model = make_model().eval()

    def predict_view(flip):
        return model.test_step(pseudo_collate([scene([GENERATE, flip, TEST[1]])]))[0]

    scores = predict_view(FLIPS[0]).seg_logits.data
    with torch.no_grad():  # otherwise one class is the best everywhere
        model.decode_head.classifier[6].weight /= scores.std(dim=(1, 2)).mean()
        scores = predict_view(FLIPS[0]).seg_logits.data
        model.decode_head.classifier[6].bias -= scores.mean(dim=(1, 2))
    views = [predict_view(flip) for flip in FLIPS]
    assert [view.flip for view in views] == [False, True]
    mean = sum(view.seg_logits.data.softmax(dim=0) for view in views) / 2
    tta = MODELS.build(dict(type='SegTTAModel', module=model))
    merged, = tta.test_step(pseudo_collate([scene([
        GENERATE, dict(type='TestTimeAug', transforms=[FLIPS, [TEST[1]]])])]))
    assert torch.equal(merged.pred_sem_seg.data[0], mean.argmax(dim=0))
    for view in views:  # of neither alone
        assert not torch.equal(view.pred_sem_seg.data, merged.pred_sem_seg.data)


def test_bfloat16_by_autocast_has_the_loss_of_float32_but_for_the_layers():
    """Counts of pixels and sums over them do not fit into 8 bits."""
    model = make_model().eval()
    data = model.data_preprocessor(training_batch(), training=True)
    single = model(**data, mode='loss')['decode.loss_ce']
    scores = []
    model.decode_head.register_forward_hook(lambda head, args, output: scores.extend(output))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**data, mode='loss')
    loss = losses['decode.loss_ce']
    assert scores[0].dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, single, rtol=0.05, atol=0)
    # the same scores, then all in float64
    head, samples = model.decode_head.double(), data['data_samples']
    head.classifier = GivenScores(torch.cat(scores).double())
    head.features = 'box'
    exact = head.loss((torch.zeros(2, 32, 4, 6).double(), ), samples, {})['loss_ce']
    torch.testing.assert_close(loss, exact.float(), rtol=1e-5, atol=0)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.backbone.parameters())


@pytest.mark.skipif(not extension_loaded(), reason='slow without the kernels')
def test_torch_compile_gives_the_same_loss_and_gradients():
    model = make_model(features='region').eval()
    data = model.data_preprocessor(training_batch(sizes=[(30, 40)]), training=True)
    results = []
    for run in (model, torch.compile(model, backend='aot_eager')):
        model.zero_grad()
        loss = run(**data, mode='loss')['decode.loss_ce']
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    torch._dynamo.reset()
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------ initial weights


def vgg_state(classes=CLASSES):
    """The classifier of torchvision's VGG, smaller."""
    inputs = CHANNELS * GRID * GRID
    layers = nn.Sequential(OrderedDict([
        ('0', nn.Linear(inputs, 8)), ('3', nn.Linear(8, 8)), ('6', nn.Linear(8, classes))]))
    return {f'classifier.{name}': value for name, value in layers.state_dict().items()}


@pytest.mark.parametrize('features', ['tied', 'region', 'box'])
def test_vggs_layers_load_as_they_are(features):
    head, state = make_head(features=features), vgg_state()
    head.load_state_dict(state, strict=True)
    for name, value in head.state_dict().items():
        assert torch.equal(value, state[name])


def test_separate_weights_start_as_halves_of_vggs():
    """So a region that fills its box has the scores that VGG's layers give it."""
    state = vgg_state()
    kept = copy.deepcopy(state)
    separate, box = make_head(features='separate'), make_head(features='box')
    separate.load_state_dict(state)
    box.load_state_dict(state)
    weight = state['classifier.0.weight']
    assert torch.equal(separate.classifier[0].weight, torch.cat([weight, weight], dim=1) / 2)
    maps, regions = (torch.randn(1, CHANNELS, 4, 5), ), region_set(torch.zeros(BATCH), [[0]])
    torch.testing.assert_close(separate(maps, [regions], BATCH), box(maps, [regions], BATCH))
    assert all(torch.equal(state[name], kept[name]) for name in kept), 'the caller keeps his own'


def test_init_cfg_loads_all_but_the_classes_of_imagenet(tmp_path):
    """As configs/_base_/models/region_vgg16.py does; fc8 keeps N(0, 0.01)."""
    path, state = str(tmp_path / 'vgg.pth'), vgg_state(classes=1000)
    torch.save(dict(state, **{'features.0.weight': torch.zeros(4, 3, 3, 3)}), path)
    head = make_head(init_cfg=[dict(type='Normal', layer='Linear', std=0.01),
                               dict(type='Pretrained', checkpoint=path)])
    head.init_weights()
    weight = state['classifier.0.weight']
    assert torch.equal(head.classifier[0].weight, torch.cat([weight, weight], dim=1) / 2)
    assert torch.equal(head.classifier[3].weight, state['classifier.3.weight'])
    assert head.classifier[6].weight.std().item() == pytest.approx(0.01, rel=0.5)
    assert head.classifier[6].bias.eq(0).all()


def test_a_separate_head_is_saved_and_loaded_exactly(tmp_path):
    """Its own weights are not halved, alone or inside a model, by mmengine or by torch."""
    path = str(tmp_path / 'model.pth')
    model, other = make_model(), make_model()
    torch.save(dict(state_dict=model.state_dict()), path)
    nn.init.zeros_(other.decode_head.classifier[0].weight)
    load_checkpoint(other, path)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    head, other = make_head(), make_head()
    nn.init.ones_(head.classifier[0].weight)
    other.load_state_dict(head.state_dict())
    assert other.classifier[0].weight.eq(1).all()


def test_layers_start_from_a_normal_distribution_of_001():
    head = RegionHead(32, 64, num_classes=CLASSES, roi_layer=POOLING)
    head.init_weights()
    for layer in (m for m in head.modules() if isinstance(m, nn.Linear)):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.2)
        assert layer.bias.eq(0).all()
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]


# ------------------------------------------------------------------------------------ sentences


@pytest.mark.parametrize('kwargs, message', [
    (dict(mask_rule='most'), r"mask_rule must be one of \('half', 'any'\), got 'most'"),
    (dict(features='both'), "features must be one of .*'separate'.*, got 'both'"),
    (dict(decay=1.5), 'decay must be from 0 to 1, got 1.5'),
    (dict(decay=-1), 'got -1'),
    (dict(decay=.5, softmax_first=True), 'decay=0.5 with softmax_first=True'),
    (dict(stride=16.), 'stride must be a whole number from 1, got 16.0'),
    (dict(roi_layer=dict(type='FreeFormRoIPool', output_size=0)), 'positive numbers, got 0'),
    (dict(num_classes=2, out_channels=1), 'out_channels must be num_classes, 2, got 1'),
    (dict(region_loss=True, loss_decode=CE), 'region_loss=True needs .*ClassWeighted'),
    (dict(region_loss=True, loss_decode=[PER_CELL, CE]), 'region_loss=True needs'),
    (dict(region_loss=True, sampler=dict(type='OHEMPixelSampler')), 'and no sampler'),
    (dict(roi_layer=dict(POOLING, mode='fast')), "mode must be 'exact' or 'calvin'.*'fast'"),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_head(**kwargs)


def test_a_map_of_another_stride_is_named():
    maps, samples = two_images()
    with pytest.raises(ValueError, match='stride=8 .* map of 4x5 positions of .* 64x80'):
        make_head(stride=8).double().loss(maps, samples, {})


def test_samples_without_regions_name_the_transforms():
    maps, samples = two_images()
    head = make_head().double()
    samples[1] = SegDataSample(gt_sem_seg=samples[1].gt_sem_seg, metainfo=dict(img_shape=BATCH))
    for call in (lambda: head.loss(maps, samples, {}), lambda: predict(head, maps, samples)):
        with pytest.raises(ValueError, match='LoadRegions or GenerateRegions .*PackRegionInputs'):
            call()


def test_a_call_without_regions_says_what_to_call():
    with pytest.raises(ValueError, match="mode='loss' or 'predict'"):
        make_model()(torch.zeros(1, 3, *BATCH), mode='tensor')


def test_slide_inference_is_refused():
    model = make_model(dict(mode='slide', crop_size=(32, 32), stride=(16, 16))).eval()
    with pytest.raises(ValueError, match="mode='slide'.*model.test_cfg.mode='whole'"):
        model.test_step(pseudo_collate([scene(TEST)]))


def test_wrong_numbers_of_class_weights_and_labels_are_named():
    maps, samples = two_images()
    with pytest.raises(ValueError, match='one number for each of the 4 classes, got shape'):
        make_head(loss_decode=dict(PER_CELL, class_weight=[1., 2.])).double().loss(
            maps, samples, {})
    samples[0].gt_sem_seg.data[0, 30, 30] = 77
    assert isinstance(make_head().loss_decode, ClassWeightedCrossEntropyLoss)
    with pytest.raises(ValueError, match='the value 77, which is neither one of the 4 classes'):
        make_head().double().loss(maps, samples, {})
