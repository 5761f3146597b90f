import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.ops import RoIPool
from mmseg.registry import MODELS

from mmseg_ext.models import FreeFormRoIPool
from mmseg_ext.ops import RegionSet, free_form_roi_pool, region_geometry, region_grid_masks

# Boxes in pixels of images of 40x56 on a map of 5x7 positions: all, a part, one pixel, another
# image.
ROIS = torch.tensor(
    [[0., 0, 0, 55, 39], [0, 10, 3, 44, 30], [1, 20, 20, 20, 20], [1, 5, 8, 30, 39]])


def case():
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    return feature, torch.rand(4, 5, 7, generator=generator) < 0.6


@pytest.mark.parametrize('bins', ['mmcv', 'calvin'])
@pytest.mark.parametrize('mode', ['exact', 'calvin'])
@pytest.mark.parametrize('output_size', [2, (2, 3), [3, 1]])
def test_the_layer_is_the_op_with_its_settings(output_size, mode, bins):
    feature, masks = case()
    layer = FreeFormRoIPool(output_size, (1 / 8, 1 / 9), mode, bins)
    size = (2, 2) if output_size == 2 else tuple(output_size)
    assert layer.output_size == size
    if mode == 'calvin':
        masks = masks[:, :size[0], :size[1]]
    expected = free_form_roi_pool(feature, ROIS, masks, size, (1 / 8, 1 / 9), mode, bins)
    found = layer(feature, ROIS, masks)
    assert found.shape == (4, 3, *size) and torch.equal(found, expected)
    whole = free_form_roi_pool(feature, ROIS, None, size, (1 / 8, 1 / 9), mode, bins)
    assert torch.equal(layer(feature, ROIS), whole)
    assert not torch.equal(found, whole)


def test_modes_and_bins_all_differ():
    feature, _ = case()
    masks = dict(exact=torch.ones(4, 5, 7).bool().tril(), calvin=torch.ones(4, 5, 5).bool().tril())
    results = [
        FreeFormRoIPool(5, 1 / 8, mode, bins)(feature, ROIS, masks[mode])
        for mode in ('exact', 'calvin') for bins in ('mmcv', 'calvin')
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])


def test_a_scale_of_the_call_replaces_that_of_the_layer():
    """As for a map whose stride depends on the image."""
    feature, masks = case()
    layer = FreeFormRoIPool(2, spatial_scale=1.)
    expected = FreeFormRoIPool(2, spatial_scale=(4 / 39, 6 / 55))(feature, ROIS, masks)
    assert torch.equal(layer(feature, ROIS, masks, (4 / 39, 6 / 55)), expected)
    assert not torch.equal(layer(feature, ROIS, masks), expected)


def test_it_is_built_and_called_as_mmcvs_roi_pool():
    """Arguments by their names; mmcv has no kernel on a CPU, so bins of whole positions tell."""
    feature, _ = case()
    layer = MODELS.build(dict(type='FreeFormRoIPool', output_size=(5, 7), spatial_scale=1 / 8))
    assert isinstance(layer, FreeFormRoIPool)
    mmcvs = RoIPool(output_size=(5, 7), spatial_scale=1 / 8)
    assert (layer.output_size, layer.spatial_scale) == (mmcvs.output_size, mmcvs.spatial_scale)
    assert torch.equal(layer(feature, ROIS[:1])[0], feature[0])
    corner = torch.tensor([[1., 0, 0, 31, 31]])  # 4x4 positions
    layer = MODELS.build(dict(type='FreeFormRoIPool', output_size=2, spatial_scale=1 / 8))
    expected = F.adaptive_max_pool2d(feature[1, :, :4, :4], 2)
    assert torch.equal(layer(input=feature, rois=corner)[0], expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='mmcv pools on a GPU alone')
def test_whole_boxes_are_mmcvs_on_a_gpu():
    feature, rois = case()[0].cuda().float(), ROIS.cuda()
    expected = RoIPool((3, 2), 1 / 8)(feature, rois)
    layer = FreeFormRoIPool((3, 2), 1 / 8)
    assert torch.equal(layer(feature, rois), expected)
    full = torch.ones(4, 5, 7, dtype=torch.bool, device='cuda')
    assert torch.equal(layer(feature, rois, full), expected)


@pytest.mark.parametrize('bins', ['mmcv', 'calvin'])
@pytest.mark.parametrize('mode', ['exact', 'calvin'])
@pytest.mark.parametrize('mask_rule', ['any', 'half'])
def test_regions_of_a_batch_are_located_as_mode_and_bins_need_them(mode, bins, mask_rule):
    """Two images of different sizes, with two regions and one, on a map of 5x7 positions."""
    wide, small = torch.zeros(40, 56, dtype=torch.int32), torch.zeros(33, 50, dtype=torch.int32)
    wide[3:11, 5:30] = 1
    small[7:, :21] = 1
    batch = [RegionSet(wide, torch.tensor([0, 1, 3]), torch.tensor([1, 0, 1])),
             RegionSet(small, torch.tensor([0, 1]), torch.tensor([1]))]
    layer = FreeFormRoIPool((2, 3), mode=mode, bins=bins)
    rois, masks, scale = layer.locate(batch, (5, 7), 8, mask_rule=mask_rule)
    boxes, expected = zip(*(region_geometry(each, (5, 7), 8, mask_rule=mask_rule)
                            for each in batch))
    if mode == 'calvin':
        expected = [region_grid_masks(*each, (2, 3)) for each in zip(batch, boxes)]
    assert torch.equal(masks, torch.cat(expected))
    assert rois.dtype == torch.float32 and rois[:, 0].tolist() == [0, 0, 1]
    scales = 1 / 8
    if bins == 'calvin':  # (w - 1) / (W - 1), (h - 1) / (H - 1) of each image
        scales = torch.tensor([[6 / 55, 4 / 39] * 2] * 2 + [[6 / 49, 4 / 32] * 2])
    torch.testing.assert_close(rois[:, 1:] * scale, torch.cat(boxes) * scales)
    assert layer(case()[0].float(), rois, masks, scale).shape == (3, 3, 2, 3)


def test_gradients_pass_to_the_map_and_nothing_is_learnt():
    feature, masks = case()
    layer = FreeFormRoIPool(2, 1 / 8)
    assert not list(layer.parameters()) and not layer.state_dict()
    feature.requires_grad_()
    layer(feature, ROIS, masks).sum().backward()
    inside = np.flatnonzero(feature.grad[0].abs().sum(dim=0))
    assert len(inside) and set(inside) <= set(np.flatnonzero(masks[0] | masks[1]))


def test_it_can_be_a_layer_of_a_module_and_shows_its_settings():
    text = repr(nn.ModuleList([FreeFormRoIPool(7, 0.0625, 'calvin', 'calvin')]))
    assert 'FreeFormRoIPool(output_size=(7, 7), spatial_scale=0.0625, ' in text
    assert "mode='calvin', bins='calvin')" in text


@pytest.mark.parametrize('kwargs, message', [
    (dict(mode='fast'), "'exact' or 'calvin' .* got 'fast' and 'mmcv'"),
    (dict(bins='fast'), "'mmcv' or 'calvin', got 'exact' and 'fast'"),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FreeFormRoIPool(7, **kwargs)
