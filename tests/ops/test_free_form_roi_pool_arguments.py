"""What the op takes, in any layout and type, and what it refuses."""
import pytest
import torch
from free_form_roi_pool_cases import (
    BINS,
    IMPLEMENTATIONS,
    MODES,
    SETTINGS,
    pool_and_gradient,
    random_case,
    whole_numbers,
)

from mmseg_ext.ops import free_form_roi_pool


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_views_of_any_layout(implementation):
    input, rois, masks, size, scale = random_case(SETTINGS[0])
    expected = pool_and_gradient(input, rois, masks, size, scale, implementation=implementation)
    inputs = [input.contiguous(memory_format=torch.channels_last),
              input.transpose(2, 3).contiguous().transpose(2, 3),
              torch.stack([input, input + 1], dim=-1)[..., 0]]
    other_rois = torch.stack([rois, rois + 1], dim=-1)[..., 0]
    other_masks = masks.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    for x in inputs:
        assert not x.is_contiguous()
        found = pool_and_gradient(
            x, other_rois, other_masks, size, scale, implementation=implementation)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


@pytest.mark.parametrize('masked', [True, False], ids=['masks', 'boxes'])
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_features_of_a_region_can_be_flattened_without_a_copy(
        implementation, bins, mode, masked):
    input, rois, masks, size, scale = random_case(SETTINGS[0], mode)
    output = free_form_roi_pool(input.contiguous(memory_format=torch.channels_last), rois,
                                masks if masked else None, size, scale, mode, bins,
                                implementation=implementation)
    assert output.flatten(1).data_ptr() == output.data_ptr()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_gradient_of_any_layout(implementation):
    case = random_case(SETTINGS[0])
    received = whole_numbers((24, 2, 3, 4)).double()
    expected = pool_and_gradient(*case, received=received, implementation=implementation)
    for other in (received.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
                  received.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)):
        found = pool_and_gradient(*case, received=other, implementation=implementation)
        assert torch.equal(found[1], expected[1])
    one = torch.ones(()).double()  # as of output.sum()
    found = pool_and_gradient(*case, received=one.expand_as(received),
                              implementation=implementation)
    expected = pool_and_gradient(*case, received=torch.ones_like(received),
                                 implementation=implementation)
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_size_and_a_scale_may_be_one_number_or_two(implementation):
    input, rois, masks, _, _ = random_case(SETTINGS[1])
    for size, scale in [(7, [1 / 16, 1 / 16]), ((7, 7), 1 / 16), ([7, 7], (1 / 16, 1 / 16))]:
        for mask in (masks, None):
            assert torch.equal(
                free_form_roi_pool(input, rois, mask, size, scale, implementation=implementation),
                free_form_roi_pool(input, rois, mask, 7, 1 / 16, implementation=implementation))


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.int64], ids=str)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_boxes_may_have_another_type_than_the_map(implementation, dtype):
    case = random_case(SETTINGS[0])
    rois = case[1].round().clamp(-100, 100)
    expected, found = (
        free_form_roi_pool(case[0], x, *case[2:], implementation=implementation)
        for x in (rois, rois.to(dtype)))
    assert torch.equal(found, expected)


@pytest.mark.parametrize('image', [-1, 3])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_index_of_an_image_that_is_not_there_is_refused(implementation, image):
    input, rois, masks, size, scale = random_case(SETTINGS[0])
    rois = torch.tensor([[0., 0, 0, 9, 9], [image, 0, 0, 9, 9]])
    with pytest.raises(ValueError):
        free_form_roi_pool(input, rois, None, size, scale, implementation=implementation)


@pytest.mark.parametrize('given, message', [
    (dict(mode='soft'), "mode must be 'exact' or 'calvin'.*'soft'"),
    (dict(bins='aligned'), "bins 'mmcv' or 'calvin'.*'aligned'"),
    (dict(output_size=0), r'output_size .* positive .* got \(0, 0\)'),
    (dict(output_size=(3, 4, 5)), r'one or two positive numbers .* got \(3, 4, 5\)'),
    (dict(spatial_scale=0.), r'spatial_scale .* got .* \(0.0, 0.0\)'),
    (dict(spatial_scale=(0.5, -1.)), r'got .* \(0.5, -1.0\)'),
    (dict(spatial_scale=(1., 1., 1.)), r'got .* \(1.0, 1.0, 1.0\)'),
    (dict(input=torch.zeros(2, 6, 9)), r'input must be \(N, D, h, w\).*got \(2, 6, 9\)'),
    (dict(rois=torch.zeros(24, 4)), r'rois \(K, 5\).*got .*\(24, 4\)'),
    (dict(masks=torch.zeros(24, 3, 4).bool()), r'must be bool \(24, 6, 9\).*got .*\(24, 3, 4\)'),
    (dict(masks=torch.zeros(23, 6, 9).bool()), r'must be bool \(24, 6, 9\).*got .*\(23, 6, 9\)'),
    (dict(masks=torch.zeros(24, 6, 9)), r'must be bool \(24, 6, 9\).*got torch.float32'),
    (dict(mode='calvin'), r"must be bool \(24, 3, 4\) with mode='calvin', got .*\(24, 6, 9\)"),
    (dict(implementation='cuda'), "'cpp', 'triton', 'reference' or None, got 'cuda'")])
def test_wrong_arguments_are_refused(given, message):
    names = ('input', 'rois', 'masks', 'output_size', 'spatial_scale')
    with pytest.raises(ValueError, match=message):
        free_form_roi_pool(**{**dict(zip(names, random_case(SETTINGS[0]))), **given})
