"""Which positions of the map are in a bin."""
import numpy as np
import pytest
import torch
from free_form_roi_pool_cases import BINS, DTYPES, needs_gpu, range_of_bin
from torch import inf, nan

from mmseg_ext.ops import free_form_roi_pool
from mmseg_ext.ops.free_form_roi_pool import bin_ranges


@pytest.mark.parametrize('number', [1, 2, 4, 8])
@pytest.mark.parametrize('bins', BINS)
def test_bins_are_exact_where_their_borders_are(bins, number):
    """In whole sixteenths of a bin, without floating point."""
    stride, cells = 16, 5
    first, last = np.mgrid[-20:100, -20:100].reshape(2, -1)
    i = np.arange(number)
    begin, end = first[:, None] * number, (last + (bins == 'mmcv'))[:, None] * number
    unit = stride * number  # of `begin` and `end`, in a cell
    low = (begin + i * (end - begin) // number) // unit
    high = -(-(begin + (i + 1) * (end - begin) // number) // unit) + (bins == 'calvin')
    low, high = low.clip(0, cells), high.clip(0, cells)
    high[(end < begin if bins == 'calvin' else end <= begin)[:, 0]] = 0
    found = bin_ranges(torch.from_numpy(first), torch.from_numpy(last), number, cells, 1 / stride,
                       bins)
    np.testing.assert_array_equal(found[0], low)
    np.testing.assert_array_equal(found[1], np.maximum(high, low))


# the strides of VGG, and a scale that float32 rounds
@pytest.mark.parametrize('scale', [1 / 16, 1 / 8, 38 / 600])
@pytest.mark.parametrize('bins', BINS)
def test_bins_of_every_box_of_an_image_have_the_roundings_of_float32(bins, scale):
    first, last = np.triu_indices(600)
    first, last = first[::199], last[::199]
    found = bin_ranges(torch.from_numpy(first), torch.from_numpy(last), 7, 38, scale, bins)
    for k, i in np.ndindex(len(first), 7):
        expected = range_of_bin(first[k], last[k], i, 7, 38, scale, bins)
        assert list(range(found[0, k, i], found[1, k, i])) == expected


@needs_gpu
@pytest.mark.parametrize('scale', [1 / 16, 1 / 8, 38 / 600])
@pytest.mark.parametrize('bins', BINS)
def test_bins_are_the_same_on_a_gpu(bins, scale):
    first, last = (torch.from_numpy(x) for x in np.triu_indices(600))
    expected = bin_ranges(first, last, 7, 38, scale, bins)
    found = bin_ranges(first.cuda(), last.cuda(), 7, 38, scale, bins)
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize('first, last', [(0, inf), (-inf, 3), (-inf, inf), (nan, 3), (0, nan),
                                         (0, 3e38), (-3e38, 3), (-3e38, 3e38)])
@pytest.mark.parametrize('bins', BINS)
def test_no_box_leads_out_of_the_map(bins, first, last):
    """What is read is decided by these numbers, without another look."""
    low, high = bin_ranges(torch.tensor([first]), torch.tensor([last]), 3, 5, 16., bins)
    assert 0 <= low.min() and high.max() <= 5 and (low <= high).all()


@needs_gpu
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_whole_boxes_have_the_same_bins_in_every_type_on_a_gpu(dtype):
    """Coordinates rounded to the type of the map would be other boxes."""
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.integers(0, 600, (2, 200, 2)), axis=2)
    rois = torch.from_numpy(np.column_stack([0 * x[:, 0], x[:, 0], y[:, 0], x[:, 1], y[:, 1]]))
    input = torch.from_numpy(rng.integers(-99, 100, (1, 3, 38, 38))).double()
    expected = free_form_roi_pool(input, rois.float(), None, 7, 1 / 16)
    found = free_form_roi_pool(input.to('cuda', dtype), rois.float().cuda(), None, 7, 1 / 16)
    assert torch.equal(found.double().cpu(), expected)
    assert free_form_roi_pool(
        input.to('cuda', dtype), rois[:0].float().cuda(), None, 7).shape == (0, 3, 7, 7)
