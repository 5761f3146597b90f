import sys
import types

import numpy as np
import pytest
import torch

from mmseg_ext.ops import extension_loaded, free_form_roi_pool, library
from mmseg_ext.ops.free_form_roi_pool import _is_for_mmcv, bin_ranges, reference_bin_index

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
MODES = ['exact', 'calvin']
BINS = ['mmcv', 'calvin']
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
nan, inf = torch.nan, torch.inf

# Sizes of map and grid, and cells per pixel (y, x). 1/8 is exact in float32, the others are not.
SETTINGS = [
    ((6, 9), (3, 4), (1 / 8, 1 / 8)),
    ((8, 8), (7, 7), (1 / 16, 1 / 16)),  # more bins than the most boxes have cells
    ((7, 5), (2, 2), (0.3, 0.7)),
    ((5, 9), (1, 3), (4 / 79, 8 / 99)),  # (h - 1) / (H - 1), as the released code scales
]


def range_of_bin(first, last, i, number, cells, scale, bins):
    """The cells of the map in bin i of one side of a box, with the roundings of float32."""
    f = np.float32
    begin = f(first) * f(scale)
    end = f(last) * f(scale) if bins == 'calvin' else (f(last) + f(1)) * f(scale)
    if end < begin or (bins == 'mmcv' and end == begin):
        return []
    length = (end - begin) / f(number)
    low, high = np.floor(f(i) * length + begin), np.ceil(f(i + 1) * length + begin)
    inside = [c for c in range(cells) if low <= c <= high]
    return [c for c in inside if bins == 'calvin' or c < high]


def by_loops(input, rois, masks, size, scale, mode, bins, received):
    """Output and gradient, one cell at a time."""
    channels, height, width = input.shape[1:]
    output = np.zeros((len(rois), channels, *size))
    gradient = np.zeros(input.shape)
    for k, i, j in np.ndindex(len(rois), *size):
        image, x1, y1, x2, y2 = rois[k]
        rows = range_of_bin(y1, y2, i, size[0], height, scale[0], bins)
        columns = range_of_bin(x1, x2, j, size[1], width, scale[1], bins)
        cells = [(y, x) for y in rows for x in columns]
        if bins == 'calvin':
            cells.sort(key=lambda cell: cell[::-1])
        weight = 1
        if mode == 'exact':
            cells = [cell for cell in cells if masks is None or masks[k][cell]]
        elif masks is not None:
            weight = masks[k, i, j]
        for d in range(channels):
            values = input[int(image), d]
            winner = None
            for cell in cells:
                if values[cell] > (values[winner] if winner else 0 if bins == 'calvin' else -inf):
                    winner = cell
            if winner:
                output[k, d, i, j] = weight * values[winner]
                gradient[(int(image), d, *winner)] += weight * received[k, d, i, j]
    return output, gradient


def random_boxes(rng, count, side, scale):
    """First and last pixel along a side of `side` cells, as many different ways as there are."""
    pixels = int(side / scale)
    inside = np.sort(rng.integers(0, pixels, (count, 2)))
    boxes = np.select(
        [np.arange(count)[:, None] % 6 == i for i in range(5)],
        [inside, inside[:, :1].repeat(2, 1),  # one pixel
         inside + rng.random((count, 2)),  # between pixels
         inside + rng.integers(-pixels, pixels, (count, 1)),  # partly or wholly outside
         inside[:, ::-1]],  # last before first
        np.array([[0, pixels - 1]]))
    return rng.permutation(boxes)


def random_masks(rng, count, height, width):
    masks = np.zeros((count, height, width), dtype=bool)
    for k, mask in enumerate(masks):
        y, x = rng.integers(height), rng.integers(width)
        kind = k % 7
        if kind == 0:  # thin
            mask[y], mask[:, x] = True, rng.random() < 0.5
        elif kind == 1:  # one cell
            mask[y, x] = True
        elif kind == 2:
            mask[:] = True
        elif kind == 3:  # a part of the one before
            mask[y // 2:y + 2, x // 2:x + 2] = True
        elif kind == 4:  # at the border
            mask[0] = mask[:, -1] = True
        elif kind == 5:
            mask[:] = rng.random((height, width)) < 0.5
        # 6: empty
    return masks


def random_case(setting, mode='exact', seed=0, count=24, ties=False):
    """Map, boxes, masks, grid and scale; the numbers are eighths, exact in every type."""
    (height, width), size, scale = setting
    rng = np.random.default_rng(seed)
    input = rng.integers(-16, 17, (3, 2, height, width))
    input = input // 8 if ties else input / 8
    x, y = (random_boxes(rng, count, *side) for side in ((width, scale[1]), (height, scale[0])))
    rois = np.column_stack([rng.integers(0, 3, count), x[:, 0], y[:, 0], x[:, 1], y[:, 1]])
    masks = random_masks(rng, count, *((height, width) if mode == 'exact' else size))
    return (torch.from_numpy(input).double(), torch.from_numpy(rois).float(),
            torch.from_numpy(masks), size, scale)


def pool_and_gradient(input, *args, received=None, **kwargs):
    input = input.detach().requires_grad_()
    output = free_form_roi_pool(input, *args, **kwargs)
    if received is None:
        received = whole_numbers(output.shape)
    gradient, = torch.autograd.grad(output, input, received.to(output))
    return output.detach(), gradient


def places_of(case, bins='mmcv'):
    """What the ops are called with beside the map."""
    input, rois, masks, size, scale = case
    sides = (bin_ranges(rois[:, 2 - i], rois[:, 4 - i], size[i], input.shape[2 + i], scale[i], bins)
             for i in (0, 1))
    return rois[:, 0].long(), *sides, masks, bins == 'calvin'


def whole_numbers(shape):
    """Gradients of which sums are exact in every type."""
    return torch.from_numpy(np.random.default_rng(1).integers(-4, 5, shape))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_3x3_by_hand(implementation):
    """The larger numbers are outside of the L; a bin that has nothing of it is 0."""
    map = torch.tensor([[-1., 7, 2], [-4, 5, 3], [-6, -8, -9]]).view(1, 1, 3, 3)
    shape = torch.tensor([[1, 0, 0], [1, 0, 0], [1, 1, 1]]).bool()[None]
    output, gradient = pool_and_gradient(
        map, torch.tensor([[0., 0, 0, 2, 2]]), shape, 2, implementation=implementation,
        received=torch.tensor([[1, 10], [100, 1000]]).view(1, 1, 2, 2))
    assert output[0, 0].tolist() == [[-1, 0], [-4, -8]]
    assert gradient[0, 0].tolist() == [[1, 0, 0], [100, 0, 0], [0, 1000, 0]]


# The digits of a number are its row and column. The box, pixels 1 to 6 and 3 to 9 at half size, is
# from 0.5 to 3.5 and from 1.5 to 5: columns 0-1, 1-2, 2-3 and rows 1-2, 2-3, 3-4.
MAP_5X5 = (10 * torch.arange(5.)[:, None] + torch.arange(5.)).view(1, 1, 5, 5)
BOX_5X5 = torch.tensor([[0., 1, 3, 6, 9]])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_5x5_by_hand(implementation):
    band = torch.ones(1, 5, 5).tril(1).triu(-1).bool()
    output, gradient = pool_and_gradient(
        MAP_5X5, BOX_5X5, band, 3, 0.5, implementation=implementation,
        received=torch.ones(1, 1, 3, 3))
    assert output[0, 0].tolist() == [[21, 22, 23], [21, 32, 33], [0, 32, 43]]
    assert gradient[0, 0].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 2, 1, 1, 0],
                                       [0, 0, 2, 1, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_5x5_with_a_mask_on_the_grid_by_hand(implementation):
    grid = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 1, 1]]).bool()[None]
    output, gradient = pool_and_gradient(
        MAP_5X5, BOX_5X5, grid, 3, 0.5, mode='calvin', implementation=implementation,
        received=torch.ones(1, 1, 3, 3))
    assert output[0, 0].tolist() == [[21, 0, 23], [31, 32, 0], [0, 42, 43]]
    assert gradient[0, 0].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0],
                                       [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_3x3_with_bins_of_the_released_code_by_hand(implementation):
    """Image 5x5, so a scale of 2 / 4: the first box is all cells, the second the last row."""
    map = torch.tensor([[-1., 7, 2], [-4, 5, 7], [-6, -8, -9]]).view(1, 1, 3, 3)
    output, gradient = pool_and_gradient(
        map, torch.tensor([[0., 0, 0, 4, 4], [0, 0, 4, 4, 4]]), None, 2, 0.5, bins='calvin',
        implementation=implementation,
        received=torch.tensor([[[1., 10], [100, 1000]], [[1e4, 1e4], [1e4, 1e4]]])[:, None])
    # both bins of a side have the middle; of 7 and 7 the column further left wins
    assert output[:, 0].tolist() == [[[7, 7], [5, 7]], [[0, 0], [0, 0]]]
    assert gradient[0, 0].tolist() == [[0, 11, 0], [0, 100, 1000], [0, 0, 0]]


@pytest.mark.parametrize('bins, winner', [('mmcv', (0, 2)), ('calvin', (2, 0))])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_first_of_equal_cells_wins_by_row_or_as_released_by_column(
        implementation, bins, winner):
    mask = torch.ones(1, 3, 3).bool()
    mask[0, :2, :2] = False
    _, gradient = pool_and_gradient(
        torch.ones(1, 1, 3, 3), torch.tensor([[0., 0, 0, 2, 2]]), mask, 1, bins=bins,
        implementation=implementation, received=torch.ones(1, 1, 1, 1))
    assert gradient.nonzero().tolist() == [[0, 0, *winner]]


@pytest.mark.parametrize('setting', SETTINGS, ids=str)
@pytest.mark.parametrize('ties', [False, True], ids=['', 'ties'])
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('mode', MODES)
def test_output_and_gradient_are_those_of_loops(mode, bins, ties, setting):
    case = random_case(setting, mode, ties=ties)
    received = whole_numbers((24, 2, *setting[1]))
    expected = by_loops(*(x.numpy() for x in case[:3]), *case[3:], mode, bins, received.numpy())
    for implementation in IMPLEMENTATIONS:
        found = pool_and_gradient(
            *case, mode, bins, received=received, implementation=implementation)
        for x, y in zip(found, expected):
            np.testing.assert_array_equal(x.numpy(), y, err_msg=implementation)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_types_give_the_same_numbers(implementation, bins, dtype):
    case = random_case(SETTINGS[0], seed=1)
    expected = pool_and_gradient(*case, bins=bins, implementation=implementation)
    found = pool_and_gradient(
        case[0].to(dtype), *case[1:], bins=bins, implementation=implementation)
    for x, y in zip(found, expected):
        assert x.dtype == dtype and torch.equal(x.double(), y)


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


@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_full_masks_are_box_pooling(implementation, bins):
    input, rois, masks, size, scale = random_case(SETTINGS[1])
    full = torch.ones_like(masks)
    expected = pool_and_gradient(
        input, rois, None, size, scale, bins=bins, implementation=implementation)
    for mode, ones in [('exact', full), ('calvin', full[:, :1, :1].expand(-1, *size)),
                       ('calvin', None)]:
        found = pool_and_gradient(
            input, rois, ones, size, scale, mode, bins, implementation=implementation)
        assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


@needs_gpu
@pytest.mark.parametrize('masked', [True, False], ids=['full masks', 'boxes'])
def test_full_masks_are_roi_pooling_of_mmcv(masked):
    """Bit for bit with boxes that begin in the image, and a scale that is a power of two.

    Else a GPU's compiler, which adds and multiplies at once, rounds mmcv's borders otherwise.
    """
    from mmcv.ops import roi_pool
    rng = np.random.default_rng(0)
    x1, y1 = rng.integers(0, 600, (2, 300))
    rois = torch.from_numpy(np.column_stack([
        rng.integers(0, 2, 300), x1, y1, x1 + rng.integers(0, 600, 300),
        y1 + rng.integers(0, 600, 300)])).float().cuda()
    input = torch.randn(2, 20, 38, 38, device='cuda', requires_grad=True)
    masks = torch.ones(300, 38, 38, dtype=torch.bool, device='cuda') if masked else None
    expected = roi_pool(input, rois, 7, 1 / 16)
    received = torch.randint(-4, 5, expected.shape, device='cuda').float()
    found = pool_and_gradient(input, rois, masks, 7, 1 / 16, received=received)
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], torch.autograd.grad(expected, input, received)[0])


@needs_gpu
def test_a_box_that_ends_before_it_begins_has_no_gradient_on_a_gpu():
    """That of mmcv's kernel would go to the first cell of the map."""
    output, gradient = pool_and_gradient(
        torch.ones(1, 2, 5, 5, device='cuda'), torch.tensor([[0., 3, 1, 1, 4]], device='cuda'),
        None, 2, received=torch.ones(1, 2, 2, 2))
    assert output.eq(0).all() and gradient.eq(0).all()


@needs_gpu
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('setting', SETTINGS, ids=str)
def test_a_gpu_gives_the_numbers_of_a_cpu(setting, dtype, bins):
    input, rois, masks, size, scale = random_case(setting)
    expected = pool_and_gradient(input, rois, masks, size, scale, bins=bins)
    found = pool_and_gradient(
        input.to('cuda', dtype), rois.cuda(), masks.cuda(), size, scale, bins=bins)
    for x, y in zip(found, expected):
        assert x.dtype == dtype and torch.equal(x.double().cpu(), y)


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


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_is_a_maximum_and_minus_infinity_a_value(implementation):
    map = torch.tensor([[-inf, -inf], [nan, 3.]]).view(1, 1, 2, 2)
    output, gradient = pool_and_gradient(
        map, torch.tensor([[0., 0, 0, 1, 0], [0, 0, 0, 1, 1], [0, 1, 0, 1, 1]]), None, 1,
        implementation=implementation, received=torch.tensor([1., 10, 100]).view(3, 1, 1, 1))
    np.testing.assert_array_equal(output.flatten(), [-inf, nan, 3])
    assert gradient[0, 0].tolist() == [[1, 0], [10, 100]]


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


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_no_boxes_and_no_cells(implementation, bins, mode):
    input, rois, masks, size, scale = random_case(SETTINGS[0], mode)

    def pool(rois, masks):
        return pool_and_gradient(
            input, rois, masks, size, scale, mode, bins, implementation=implementation)

    output, gradient = pool(rois[:0], masks[:0])
    assert output.shape == (0, 2, 3, 4) and gradient.eq(0).all()
    output, gradient = pool(rois, torch.zeros_like(masks))
    assert output.shape == (24, 2, 3, 4) and output.eq(0).all() and gradient.eq(0).all()
    outside = torch.tensor([[0., -50, -50, -20, -20], [0, 900, 900, 999, 999]])
    for ones in (None, torch.ones_like(masks[:2])):
        output, gradient = pool(outside, ones)
        assert output.eq(0).all() and gradient.eq(0).all()


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


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('bins', BINS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_gradcheck(implementation, bins, mode):
    input, rois, masks, size, scale = random_case(SETTINGS[0], mode, count=9)
    # all different and none at 0, where the maximum has a corner
    input = input[:, :1]
    input = torch.randperm(input.numel(), generator=torch.manual_seed(0)).view_as(input) - 80.5
    assert torch.autograd.gradcheck(
        lambda x: free_form_roi_pool(
            x, rois, masks, size, scale, mode, bins, implementation=implementation),
        input.double().requires_grad_())


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_autocast_changes_nothing(implementation):
    input, *rest = random_case(SETTINGS[0])
    expected = pool_and_gradient(input.float(), *rest, implementation=implementation)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = pool_and_gradient(input.float(), *rest, implementation=implementation)
    for x, y in zip(found, expected):
        assert x.dtype == torch.float32 and torch.equal(x, y)


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


@pytest.fixture
def asks_mmcv(monkeypatch):
    """Whether mmcv's kernel is asked for whole boxes on a GPU, of which there is only the name."""
    monkeypatch.setattr(library, '_warned', set())

    def ask(cuda_version, scale=(0.5, 0.5), bins='mmcv', dtype=torch.float32, boxes=1, **device):
        stub = types.SimpleNamespace(get_compiling_cuda_version=lambda: cuda_version)
        # None: an import of it fails
        monkeypatch.setitem(sys.modules, 'mmcv.ops', stub if cuda_version else None)
        map = types.SimpleNamespace(**dict(dict(is_cuda=True, dtype=dtype), **device))
        return bool(_is_for_mmcv(map, torch.zeros(boxes, 5), scale, bins))

    return ask


def test_mmcv_pools_whole_boxes_where_it_has_the_kernel(asks_mmcv):
    assert asks_mmcv('13.0') and asks_mmcv('rocm not available')
    for other in (dict(scale=(0.5, 0.25)), dict(bins='calvin'), dict(dtype=torch.float16),
                  dict(boxes=0), dict(is_cuda=False)):
        assert not asks_mmcv('13.0', **other)


@pytest.mark.parametrize('cuda_version, reason', [
    ('not available', 'was compiled without its kernels for CUDA'),
    (None, 'mmcv.ops cannot be imported')])
def test_without_the_kernel_of_mmcv_ours_runs_and_one_warning_says_so(
        asks_mmcv, cuda_version, reason, recwarn):
    assert not asks_mmcv(cuda_version) and not asks_mmcv(cuda_version)
    warning, = recwarn
    assert reason in str(warning.message) and 'with its own kernels' in str(warning.message)


def test_mmcv_is_not_asked_where_the_result_must_be_deterministic(asks_mmcv, recwarn):
    torch.use_deterministic_algorithms(True)
    try:
        assert not asks_mmcv('13.0')
    finally:
        torch.use_deterministic_algorithms(False)
    assert not recwarn
