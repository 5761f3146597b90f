"""The compiled kernel: what only it can get wrong, and what PyTorch asks of it."""
import numpy as np
import pytest
import torch
from free_form_roi_pool_cases import (
    BINS,
    DTYPES,
    SETTINGS,
    places_of,
    pool_and_gradient,
    random_case,
    whole_numbers,
)
from torch import inf, nan

from mmseg_ext.ops import extension_loaded, free_form_roi_pool
from mmseg_ext.ops.free_form_roi_pool import reference_bin_index


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
@pytest.mark.parametrize('masked', [True, False], ids=['masks', 'boxes'])
@pytest.mark.parametrize('count', [9, 0])
def test_opcheck(count, masked):
    input, rois, masks, size, scale = random_case(SETTINGS[0], count=count)
    places = places_of((input, rois, masks if masked else None, size, scale))
    ops = torch.ops.mmseg_ext
    torch.library.opcheck(ops.free_form_roi_pool.default, (input.requires_grad_(), *places))
    input = input.detach()
    output = ops.free_form_roi_pool(input, *places)
    torch.library.opcheck(ops.free_form_roi_pool_backward.default,
                          (torch.ones_like(output), input, output, *places))


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.parametrize('mode, bins', [('exact', 'mmcv'), ('calvin', 'calvin')])
def test_it_compiles_without_a_break(mode, bins):
    case = random_case(SETTINGS[0], mode)
    torch.compiler.reset()

    @torch.compile(fullgraph=True, backend='aot_eager')
    def compiled(input):
        return free_form_roi_pool(input, *case[1:], mode, bins)

    input = case[0].requires_grad_()
    output = compiled(input)
    received = whole_numbers(output.shape).double()
    gradient, = torch.autograd.grad(output, input, received)
    expected = pool_and_gradient(*case, mode, bins, received=received)
    assert torch.equal(output, expected[0]) and torch.equal(gradient, expected[1])


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.parametrize('bins', BINS)
def test_kernel_and_reference_agree_on_a_map_of_a_real_size(bins):
    """Wider than a block of the kernel's columns, on more threads than one."""
    rng = np.random.default_rng(0)
    (x1, x2), (y1, y2) = (np.sort(rng.integers(0, 600, (2, 40)), axis=0) for _ in range(2))
    rois = torch.from_numpy(np.stack([rng.integers(0, 2, 40), x1, y1, x2, y2], axis=1)).float()
    masks = torch.from_numpy(rng.random((40, 38, 38)) < 0.6)
    input = torch.from_numpy(rng.standard_normal((2, 70, 38, 38)))
    found, expected = (
        pool_and_gradient(input, rois, masks, 7, 1 / 16, bins=bins, implementation=implementation)
        for implementation in ('cpp', 'reference'))
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


# Widths of the kernel's blocks are 64, 16 and 1. It transposes 4 x 4 numbers at once, the last ones
# of a side once more, and less than 4 one by one: 1, 3, 12 and 49 bins.
@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.parametrize('channels', [1, 16, 33, 64, 150])
@pytest.mark.parametrize('size', [(1, 1), (1, 3), (3, 4), (7, 7)], ids=str)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_the_kernel_in_one_step_does_what_rows_and_a_transposition_do(dtype, size, channels):
    (map_size, _, scale), rng = SETTINGS[0], np.random.default_rng(0)
    _, *case = random_case((map_size, size, scale))
    # few different numbers, so that there are ties; NaN and infinity
    numbers = np.array([-2, -1, -0., 0, 1, 2, inf, -inf, nan])
    input = torch.from_numpy(rng.choice(numbers, (3, channels, *map_size))).to(dtype)
    places, ops = places_of((input, *case)), torch.ops.mmseg_ext
    index = reference_bin_index(*places[:4], *map_size, places[4])

    def rows_of(map):
        return map.permute(0, 2, 3, 1).reshape(-1, channels)

    output = ops.free_form_roi_pool(input, *places)
    expected = ops.gather_max(rows_of(input), *index)
    torch.testing.assert_close(rows_of(output), expected, rtol=0, atol=0, equal_nan=True)
    gradient = torch.from_numpy(rng.standard_normal(output.shape)).to(dtype)
    assert torch.equal(
        rows_of(ops.free_form_roi_pool_backward(gradient, input, output, *places)),
        ops.gather_max_backward(rows_of(gradient), rows_of(input), expected, *index))


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
def test_the_gradient_does_not_depend_on_the_threads():
    case = (torch.randn(3, 200, 8, 8), *random_case(SETTINGS[1])[1:])
    received, results, threads = torch.randn(24, 200, 7, 7), [], torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(pool_and_gradient(*case, received=received)[1])
    torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.parametrize('indptr, indices, message', [
    ([0, 1, 2, 2], [0, 1], '3 rows, which are not whole regions of 2 bins'),
    ([0, 1, 2], [0, 12], 'rows of the source, 0 to 11'), ([0, 2], [0], 'rise from 0')])
def test_the_kernel_refuses_an_index_that_is_none(indptr, indices, message):
    input, index = torch.zeros(2, 5, 2, 3), (torch.tensor(indptr), torch.tensor(indices))
    ops = torch.ops.mmseg_ext
    with pytest.raises(ValueError, match=message):
        ops.gather_max_bins(input, *index, 2)
    with pytest.raises(ValueError, match=message):
        ops.gather_max_bins_backward(torch.zeros(1, 5, 2), input, *index)
