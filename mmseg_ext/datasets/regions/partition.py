"""From the cells of a pipeline to the regions that a head gets, by index entries only.

Till the end ``cells`` of a ``RegionSet`` has one entry for each run of pixels, a hundredth of them.

Shapes: H x W pixels in N runs, R regions, S cells, K components of equal labels.
"""
from typing import Optional, Tuple

import numpy as np

from mmseg_ext.ops import RegionSet
from mmseg_ext.ops.pixel_runs import PixelRuns, connected_components, find_runs, ranges

from ..numbered_map import NO_NUMBER

#: Label of pixels without a label.
UNLABELLED = 255


def partition(regions: RegionSet,
              labels: Optional[np.ndarray] = None,
              min_gt_iou: float = 0.,
              rectangular: bool = False) -> RegionSet:
    """Number the cells that are left densely, drop empty regions, and add the ground truth.

    Args:
        regions (RegionSet): Cells as a pipeline has moved them, ``NO_NUMBER`` outside the cells.
        labels (np.ndarray, optional): (H, W). If given, cells are split by the 8-connected
            components of equal labels, and each component is one more region, after the others and
            in the order of its first pixel. Pixels labelled 255 are in no component.
        min_gt_iou (float): Regions whose best IoU with a component is lower are dropped; all pixels
            count, labelled or not. Without any component, all are kept.
        rectangular (bool): Replace each region by its bounding box; cells are then the pixels that
            lie in the same boxes, numbered in the order of their first pixels.

    Returns:
        RegionSet: Tensors; every cell and every region has a pixel.
    """
    runs, moved = _number_cells(regions, labels, min_gt_iou)
    if rectangular and moved.num_regions:
        runs, moved = _make_rectangular(runs, moved)
    cells = runs.paint(moved.cells.astype(np.int32))
    return RegionSet(cells, moved.indptr, moved.indices, moved.num_cells).tensors()


def _number_cells(regions: RegionSet, labels: Optional[np.ndarray],
                  min_gt_iou: float) -> Tuple[PixelRuns, RegionSet]:
    cells, indptr, indices = regions
    if labels is None:
        runs = find_runs(cells)
        component = np.zeros(len(runs.first), np.int64)
    else:
        runs = find_runs(cells, labels)
        label_runs, components = connected_components(labels, UNLABELLED)
        component = components[np.searchsorted(label_runs.last, runs.first)]
    num_components = component.max(initial=0)

    # a new cell for each pair of old cell and component; the new cells of an old one are neighbours
    pairs, new = np.unique(runs.pick(cells) * (num_components + 1) + component, return_inverse=True)
    old_of, component_of = np.divmod(pairs, num_components + 1)
    real = (old_of != NO_NUMBER) | (component_of > 0)
    cell_of_run = np.where(real, np.cumsum(real) - 1, -1)[new]
    old_of, component_of = old_of[real], component_of[real]

    start = np.searchsorted(old_of, indices)
    count = np.searchsorted(old_of, indices, side='right') - start
    indptr = np.append(0, np.cumsum(count))[indptr]
    # where a region is empty, its end is the end of the one before
    indptr = np.append(0, indptr[1:][np.diff(indptr) > 0])
    proposals = RegionSet(cell_of_run, indptr, ranges(start, count), len(old_of))
    if num_components == 0:
        return runs, proposals
    if min_gt_iou > 0:
        areas = runs.areas(cell_of_run, proposals.num_cells)
        proposals = proposals.select(_best_iou(proposals, areas, component_of) >= min_gt_iou)
    # a stable sort: the cells of a component stay ascending
    truth = np.argsort(component_of, kind='stable')[np.count_nonzero(component_of == 0):]
    ends = len(proposals.indices) + np.cumsum(np.bincount(component_of)[1:])
    return runs, RegionSet(cell_of_run, np.append(proposals.indptr, ends),
                           np.append(proposals.indices, truth), len(old_of))


def _make_rectangular(runs: PixelRuns, regions: RegionSet) -> Tuple[PixelRuns, RegionSet]:
    """Replace each region by its bounding box.

    Each box has a random number of 64 bits, and pixels whose numbers add up to the same are in the
    same boxes (with 2,000 boxes and 100,000 cells, the probability that two sums coincide by
    accident is below 1e-9).
    """
    height, width = runs.shape
    boxes = regions.join_boxes(runs.bounds(regions.cells, regions.num_cells))
    x1, y1, x2, y2 = boxes.T
    numbers = np.random.default_rng(0).integers(
        1, np.iinfo(np.uint64).max, len(boxes), dtype=np.uint64)
    # the sum at a pixel by its differences; unsigned numbers wrap around, so nothing is lost
    total = np.zeros((height + 1, width + 1), np.uint64)
    for y, x, values in ((y1, x1, numbers), (y2 + 1, x2 + 1, numbers), (y1, x2 + 1, 0 - numbers),
                         (y2 + 1, x1, 0 - numbers)):
        np.add.at(total, (y, x), values)
    total = total.cumsum(axis=0).cumsum(axis=1)[:height, :width]

    runs = find_runs(total)
    sums, first, cell_of_run = np.unique(runs.pick(total), return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[sums[order] != 0]
    number = np.full(len(sums), -1, np.int64)
    number[order] = np.arange(len(order))

    # a cell is in a box if its first pixel is; the cells in the rows of a box follow each other
    y, x = np.divmod(runs.first[first[order]], width)
    start = np.searchsorted(y, y1)
    count = np.searchsorted(y, y2, side='right') - start
    cell, region = ranges(start, count), np.repeat(np.arange(len(boxes)), count)
    inside = (x[cell] >= x1[region]) & (x[cell] <= x2[region])
    indptr = np.append(0, np.cumsum(np.bincount(region[inside], minlength=len(boxes))))
    return runs, RegionSet(number[cell_of_run], indptr, cell[inside], len(order))


def _best_iou(regions: RegionSet, areas: np.ndarray, component_of: np.ndarray) -> np.ndarray:
    """Highest IoU of each region with a component, (R,).

    Each cell has an area, (S,), and lies in one component, (S,), or in 0, which is not one.
    """
    from scipy.sparse import csr_array
    shape = regions.num_regions, regions.num_cells
    members = csr_array((np.ones(len(regions.indices)), regions.indices, regions.indptr), shape)
    truth_areas = np.bincount(component_of, areas)[1:]
    labelled = component_of > 0
    common = (members @ csr_array(
        (areas[labelled], (np.flatnonzero(labelled), component_of[labelled] - 1)),
        (regions.num_cells, len(truth_areas)))).tocoo()
    region_areas = members @ areas
    best = np.zeros(len(region_areas))
    np.maximum.at(best, common.row,
                  common.data / (region_areas[common.row] + truth_areas[common.col] - common.data))
    return best
