from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_ext.ops import (
    RegionSet,
    extension_loaded,
    label_counts,
    region_geometry,
    region_grid_masks,
)
from mmseg_ext.ops.region_geometry import to_device

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])


def region_set(cells, groups):
    """Regions from nested lists: the cell of each pixel, and the cells of each region."""
    return RegionSet(
        torch.as_tensor(cells).int(),
        torch.tensor([0, *np.cumsum([len(group) for group in groups])]).long(),
        torch.tensor([cell for group in groups for cell in sorted(group)]).long())


def random_regions(height, width, seed=0, num_cells=12, holes=True):
    """Cells of one pixel, thin, blocks, scattered; regions of one, of some and of all of them."""
    rng = np.random.default_rng(seed)
    cells = np.zeros((height, width), dtype=int)
    for cell in range(1, num_cells):
        y, x = rng.integers(height), rng.integers(width)
        length_y, length_x = [(1, 1), (1, width), (height, 1), (7, 9)][cell % 4]
        cells[y:y + length_y, x:x + length_x] = cell
    scattered = rng.random(cells.shape) < 0.05
    cells[scattered] = rng.integers(0, num_cells, scattered.sum())
    if holes:
        cells[rng.random(cells.shape) < 0.1] = -1
        cells[:, :2] = -1
    present, dense = np.unique(cells, return_inverse=True)
    cells = dense.reshape(cells.shape) - int(present[0] < 0)
    number = cells.max() + 1
    groups = [[cell] for cell in range(number)] + [list(range(number))]
    groups += [rng.choice(number, rng.integers(1, number), replace=False) for _ in range(15)]
    return region_set(cells, groups)


def pixels_of(regions):
    """Which pixels each region has: (R, H, W) bool."""
    indptr = regions.indptr.tolist()
    return [np.isin(regions.cells.numpy(), regions.indices[first:last].numpy())
            for first, last in zip(indptr, indptr[1:])]


def box_and_mask(pixels, size, stride, mask_rule='half'):
    """Box and mask of one region, pixel by pixel and cell by cell of the map."""
    y, x = pixels.nonzero()
    covered, total = np.zeros(size, dtype=int), np.zeros(size, dtype=int)
    for row, column in np.ndindex(pixels.shape):
        total[row // stride, column // stride] += 1
        covered[row // stride, column // stride] += pixels[row, column]
    mask = (total > 0) & (2 * covered >= total) if mask_rule == 'half' else covered > 0
    if not mask.any():
        mask = covered == covered.max()
    return [x.min(), y.min(), x.max(), y.max()], mask


# 3x5 pixels; on a map of 2x2 pixels each the places of the last row and column are cut in half
CELLS = [[0, 0, 1, 1, 2],
         [1, 1, 1, -1, 2],
         [3, 4, 4, 4, 4]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_by_hand(implementation):
    boxes, masks = region_geometry(
        region_set(CELLS, [[0], [1], [0, 2], [3], [4]]), (2, 3), 2, mask_rule='half',
        implementation=implementation)
    assert boxes.dtype == torch.int64 and masks.dtype == torch.bool
    assert boxes.tolist() == [[0, 0, 1, 0], [0, 0, 3, 1], [0, 0, 4, 1], [0, 2, 0, 2], [1, 2, 4, 2]]
    assert masks.int().tolist() == [
        [[1, 0, 0], [0, 0, 0]],  # two of four pixels are enough
        [[1, 1, 0], [0, 0, 0]],
        [[1, 0, 1], [0, 0, 0]],  # the last column has two pixels in the image, both here
        [[0, 0, 0], [1, 0, 0]],  # one of two
        [[0, 0, 0], [1, 1, 1]]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_any_touched_position_counts_if_asked_for(implementation):
    _, masks = region_geometry(region_set(CELLS, [[0], [4], [2]]), (2, 3), 2, mask_rule='any',
                               implementation=implementation)
    assert masks.int().tolist() == [
        [[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 1, 1]], [[0, 0, 1], [0, 0, 0]]]
    cells = torch.zeros(4, 8)
    cells[0, 3] = cells[:, 4:] = 1  # one pixel of the first position, all of the second
    _, masks = region_geometry(
        region_set(cells, [[1]]), (1, 2), 4, mask_rule='any', implementation=implementation)
    assert masks.tolist() == [[[True, True]]]


def test_any_touched_position_counts_by_default():
    regions = random_regions(29, 43)
    for default, expected in zip(region_geometry(regions, (4, 6), 8),
                                 region_geometry(regions, (4, 6), 8, mask_rule='any')):
        assert torch.equal(default, expected)


def test_an_unknown_mask_rule_is_refused():
    with pytest.raises(ValueError, match=r"one of \('half', 'any'\), got 'most'"):
        region_geometry(region_set(CELLS, [[0]]), (2, 3), 2, mask_rule='most')


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_region_without_half_of_any_place_keeps_those_where_it_has_most(implementation):
    cells = torch.zeros(4, 12)
    cells[0, 0] = cells[3, 3] = cells[1, 8] = cells[2, 9] = cells[1, 4] = cells[1, 5] = 1
    _, masks = region_geometry(
        region_set(cells, [[1]]), (1, 3), 4, mask_rule='half', implementation=implementation)
    assert masks.tolist() == [[[True, True, True]]]  # two pixels in each
    cells[0, 11] = 1
    _, masks = region_geometry(
        region_set(cells, [[1]]), (1, 3), 4, mask_rule='half', implementation=implementation)
    assert masks.tolist() == [[[False, False, True]]]


# height and width of the image, of the map, stride
SIZES = [
    ((32, 48), (4, 6), 8),
    ((29, 43), (4, 6), 8),  # no multiple of the stride
    ((29, 43), (7, 9), 8),  # padded
    ((5, 40), (1, 3), 16),  # less than one cell of the map
    ((17, 23), (17, 23), 1),
    ((1, 33), (1, 5), 7),
]


@pytest.mark.parametrize('size, map_size, stride', SIZES)
@pytest.mark.parametrize('holes', [False, True], ids=['', 'holes'])
@pytest.mark.parametrize('mask_rule', ['half', 'any'])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_boxes_and_masks_are_those_counted_pixel_by_pixel(
        implementation, mask_rule, holes, size, map_size, stride):
    regions = random_regions(*size, holes=holes)
    boxes, masks = region_geometry(
        regions, map_size, stride, mask_rule=mask_rule, implementation=implementation)
    for pixels, box, mask in zip(pixels_of(regions), boxes, masks):
        expected_box, expected_mask = box_and_mask(pixels, map_size, stride, mask_rule)
        assert box.tolist() == expected_box
        np.testing.assert_array_equal(mask, expected_mask)


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
def test_kernel_and_reference_agree_on_many_cells():
    """On more threads than one, and with so many pixels that a count needs more than a byte."""
    rng = np.random.default_rng(0)
    cells = torch.from_numpy(rng.integers(0, 12, (8, 10))).kron(torch.ones(40, 40).long())
    cells = torch.unique(cells * 9 + torch.from_numpy(rng.integers(0, 9, cells.shape)) // 8,
                         return_inverse=True)[1]
    number = int(cells.max()) + 1
    regions = region_set(
        cells, [rng.choice(number, rng.integers(1, number), replace=False) for _ in range(70)])
    for mask_rule in ('half', 'any'):
        for x, y in zip(*(region_geometry(regions, (11, 13), 32, mask_rule=mask_rule,
                                          implementation=implementation)
                          for implementation in IMPLEMENTATIONS)):
            assert torch.equal(x, y)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_views(implementation):
    """Columns of larger tensors."""
    regions = random_regions(29, 43)
    views = RegionSet(*(torch.stack([x, 0 * x], dim=-1)[..., 0] for x in regions))
    assert not any(x.is_contiguous() for x in views)
    expected = region_geometry(regions, (4, 6), 8, implementation=implementation)
    found = region_geometry(views, (4, 6), 8, implementation=implementation)
    for x, y in zip(found, expected):
        assert torch.equal(x, y)
    assert torch.equal(region_grid_masks(views, found[0], (3, 4)),
                       region_grid_masks(regions, found[0], (3, 4)))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('cells', [CELLS, np.full((3, 5), -1)], ids=['cells', 'no cells'])
def test_no_regions(implementation, cells):
    regions = region_set(cells, [])
    boxes, masks = region_geometry(regions, (2, 3), 2, implementation=implementation)
    assert boxes.shape == (0, 4) and masks.shape == (0, 2, 3)
    assert boxes.dtype == torch.int64 and masks.dtype == torch.bool
    assert region_grid_masks(regions, boxes, (7, 7)).shape == (0, 7, 7)


@pytest.mark.parametrize('groups', [[[0], []], [[], [0]], [[0], [5]], [[5]]], ids=str)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_region_without_pixels_is_refused(implementation, groups):
    """It has no cells, or one that is nowhere in the image."""
    with pytest.raises(ValueError, match='Every region must have a pixel'):
        region_geometry(region_set(CELLS, groups), (2, 3), 2, implementation=implementation)


@pytest.mark.parametrize('size', [(1, 3), (2, 2)])
def test_a_map_that_does_not_cover_the_image_is_refused(size):
    with pytest.raises(ValueError, match=r'positions of 2x2 pixels does not cover .* 3x5'):
        region_geometry(region_set(CELLS, [[0]]), size, 2)


def test_an_implementation_that_is_not_there_is_refused():
    with pytest.raises(RuntimeError, match='no such kernels'):
        region_geometry(region_set(CELLS, [[0]]), (2, 3), 2, implementation='triton')


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
@pytest.mark.parametrize('groups', [[[0], [1, 4]], []], ids=str)
def test_opcheck(groups):
    torch.library.opcheck(torch.ops.mmseg_ext.region_geometry.default,
                          (*region_set(CELLS, groups), 2, 3, 2, True))


class RecordedTensor:
    """Stands in for a tensor on the CPU where there is no GPU to copy to."""

    device = torch.device('cpu')

    def __init__(self):
        self.calls = []

    def pin_memory(self):
        self.calls.append('pinned')
        return self

    def to(self, device, non_blocking=False):
        self.calls.append((device.type, non_blocking))
        return self


def test_regions_go_to_a_gpu_from_pinned_memory():
    """A copy from pageable memory would wait for the GPU."""
    assert to_device(RecordedTensor(), torch.device('cuda')).calls == ['pinned', ('cuda', True)]
    # elsewhere a copy that does not wait could read memory that is free again
    assert to_device(RecordedTensor(), torch.device('mps')).calls == [('mps', False)]
    tensor = torch.ones(2)
    assert to_device(tensor, tensor.device) is tensor


def weights_of_sample(i, length, number):
    """The pixels that sample i of a side is made of: bilinear, corners not aligned, exact."""
    position = (i + Fraction(1, 2)) * Fraction(length, number) - Fraction(1, 2)
    position = min(max(position, Fraction(0)), Fraction(length - 1))
    low = int(position)
    weights = {low: 1 - (position - low), low + 1: position - low}
    return [pixel for pixel, weight in weights.items() if weight > 0]


def grid_by_fractions(pixels, box, size):
    x1, y1, x2, y2 = box
    crop = pixels[y1:y2 + 1, x1:x2 + 1]
    grid = np.zeros(size, dtype=bool)
    for i, j in np.ndindex(*size):
        rows = weights_of_sample(i, crop.shape[0], size[0])
        columns = weights_of_sample(j, crop.shape[1], size[1])
        grid[i, j] = crop[np.ix_(rows, columns)].any()
    return grid


@pytest.mark.parametrize('size', [(7, 7), (1, 1), (2, 5), (4, 16)])
@pytest.mark.parametrize('image', [(29, 43), (1, 33), (40, 3)])
def test_grid_masks_are_a_bilinear_resize_in_fractions(image, size):
    regions = random_regions(*image)
    boxes, _ = region_geometry(regions, image, 1)
    found = region_grid_masks(regions, boxes, size)
    assert found.shape == (len(boxes), *size) and found.dtype == torch.bool
    for pixels, box, grid in zip(pixels_of(regions), boxes.tolist(), found):
        np.testing.assert_array_equal(grid, grid_by_fractions(pixels, box, size))


@pytest.mark.parametrize('size', [(7, 7), (4, 16)])
def test_grid_masks_are_those_of_interpolate(size):
    """What is above 0; 1e-9 is what float64 makes of a weight that is 0."""
    regions = random_regions(29, 43)
    boxes, _ = region_geometry(regions, (29, 43), 1)
    found = region_grid_masks(regions, boxes, size)
    for pixels, (x1, y1, x2, y2), grid in zip(pixels_of(regions), boxes.tolist(), found):
        crop = torch.from_numpy(pixels[y1:y2 + 1, x1:x2 + 1]).double()[None, None]
        resized = F.interpolate(crop, size, mode='bilinear', align_corners=False)[0, 0]
        assert torch.equal(grid, resized > 1e-9)


def test_grid_masks_by_hand():
    def samples(row, number):
        """The grid of cell 1 in a row of pixels; its box is all of them."""
        regions = region_set([row], [[1]])
        box = torch.tensor([[0, 0, len(row) - 1, 0]])
        return region_grid_masks(regions, box, (1, number)).flatten().int().tolist()

    assert samples([1], 4) == [1, 1, 1, 1]
    assert samples([1, 0, 1, 1, 0, 1], 6) == [1, 0, 1, 1, 0, 1]
    # between pixels 0 and 1, 2 and 3, 4 and 5, 6 and 7
    assert samples([1, 0, 0, 0, 0, 1, 1, 1], 4) == [1, 0, 1, 1]
    # at pixels 1, 4 and 7: the neighbours have no weight, -1 is in no region
    assert samples([1, 0, 1, 1, -1, 1, 0, 1, 1], 3) == [0, 0, 1]
    # at -1/4, 1/4, 3/4 and 1 1/4 of two pixels
    assert samples([1, 0], 4) == [1, 1, 1, 0]


def counts_by_loops(cells, labels, num_classes, ignore_index):
    counts = np.zeros((cells.max() + 1, num_classes), dtype=int)
    for y, x in np.ndindex(cells.shape):
        if cells[y, x] >= 0 and labels[y, x] != ignore_index:
            counts[cells[y, x], labels[y, x]] += 1
    return counts


@pytest.mark.parametrize('ignore_index', [255, 2, -1])
@pytest.mark.parametrize('padding', [(0, 0), (3, 5)], ids=['', 'padded'])
@pytest.mark.parametrize('dtype', [torch.int64, torch.int32, torch.uint8], ids=str)
def test_label_counts_are_those_of_loops(dtype, padding, ignore_index):
    if dtype == torch.uint8 and ignore_index < 0:
        pytest.skip('the type has no such number')
    regions = random_regions(29, 43)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, (29 + padding[0], 43 + padding[1]))
    labels[rng.random(labels.shape) < 0.2] = ignore_index
    labels[29:] = labels[:, 43:] = 5
    counts = label_counts(regions, torch.from_numpy(labels).to(dtype), 6, ignore_index)
    assert counts.dtype == torch.int64
    np.testing.assert_array_equal(
        counts, counts_by_loops(regions.cells.numpy(), labels, 6, ignore_index))


@pytest.mark.parametrize('labels', [torch.full((3, 5), 255), torch.full((4, 9), 255)])
def test_label_counts_where_nothing_counts(labels):
    counts = label_counts(region_set(CELLS, []), labels, 6)
    assert counts.shape == (5, 6) and counts.eq(0).all()
    nothing = region_set(np.full((3, 5), -1), [])
    for x in (labels, torch.zeros_like(labels)):
        assert label_counts(nothing, x, 6).shape == (0, 6)


@pytest.mark.parametrize('label', [6, 254, -1])
def test_a_label_out_of_range_is_refused(label):
    labels = torch.zeros(3, 5).long()
    labels[2, 4] = label
    with pytest.raises(ValueError, match=f'labels hold {label}, .*6 classes, 0 to 5, nor .*255'):
        label_counts(region_set(CELLS, []), labels, 6)


def test_a_label_out_of_range_does_not_matter_where_it_does_not_count():
    labels = torch.zeros(5, 7).long()
    labels[1, 3] = 9  # no cell
    labels[3, 0] = labels[0, 5] = 9  # padding
    assert label_counts(region_set(CELLS, []), labels, 6)[:, 0].tolist() == [2, 5, 2, 1, 4]


@pytest.mark.parametrize('shape', [(2, 5), (3, 4), (1, 3, 5), (15, )])
def test_a_label_map_that_is_too_small_is_refused(shape):
    with pytest.raises(ValueError, match=r'image of 3x5 pixels.*label map is \('):
        label_counts(region_set(CELLS, []), torch.zeros(shape).long(), 6)


@pytest.mark.parametrize('indptr', [[0, 2, 1], [0, 1 << 40], [-5, 1], [0, 2], []], ids=str)
@pytest.mark.parametrize('call', [
    lambda x: region_geometry(x, (2, 3), 2),
    lambda x: region_geometry(x, (2, 3), 2, implementation='reference'),
    lambda x: region_grid_masks(x, torch.zeros(1, 4).long(), (2, 2)),
    lambda x: label_counts(x, torch.zeros(3, 5).long(), 6)],
    ids=['geometry', 'reference', 'grid', 'counts'])
def test_an_index_that_does_not_rise_to_its_end_is_refused(call, indptr):
    regions = region_set(CELLS, [[0]])._replace(indptr=torch.tensor(indptr, dtype=torch.int64))
    with pytest.raises(ValueError, match='indptr must '):
        call(regions)


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.parametrize('indptr, options, message', [
    ([0, 2, 1], (2, 3, 2), 'rise from 0 to the number of indices, 1'),
    ([0, 1], (2, 3, 0), 'stride must be at least 1, got 0'),
    ([0, 1], (2, 2, 2), '2x2 positions of 2x2 pixels does not cover an image of 3x5'),
    ([0, 1], (1 << 40, 1 << 40, 1), r'A map would have the sizes \[1099511627776, ')])
def test_the_kernel_refuses_what_leads_out_of_its_tables(indptr, options, message):
    cells, _, indices = region_set(CELLS, [[0]])
    with pytest.raises(ValueError, match=message):
        torch.ops.mmseg_ext.region_geometry(
            cells, torch.tensor(indptr), indices, *options, True)


@pytest.mark.parametrize('boxes, message', [
    ([[0, 0, 5, 2]], 'in the image of 3x5'), ([[2, 0, 1, 2]], 'x1 <= x2'),
    ([[0, 0, 1]], r'integers \(1, 4\), one for each region, got torch.int64 \(1, 3\)')])
def test_boxes_that_do_not_lie_in_the_image_are_refused(boxes, message):
    with pytest.raises(ValueError, match=message):
        region_grid_masks(region_set(CELLS, [[0]]), torch.tensor(boxes), (2, 2))
