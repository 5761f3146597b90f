"""From the cells of a pipeline to the regions that a head gets, by index entries only.

Shapes: H x W pixels, R regions, S cells, K components of the truth.
"""
from typing import NamedTuple, Optional

import numpy as np

from .cell_map import NO_CELL
from .pixel_runs import PixelRuns, connected_components, find_runs, ranges

#: Label of pixels without a label.
UNLABELLED = 255


class Partition(NamedTuple):
    """Cells of an image and the regions that consist of them.

    Attributes:
        runs (PixelRuns): Runs of pixels, none of them in two cells.
        cell_of_run (np.ndarray): int64, the cell of each run, 0 to S - 1; -1 for none.
        num_cells (int): S. Every cell has a pixel.
        indptr (np.ndarray): (R + 1,) int64. Region r consists of the cells
            ``indices[indptr[r]:indptr[r + 1]]``.
        indices (np.ndarray): (nnz,) int64, ascending within a region.
    """
    runs: PixelRuns
    cell_of_run: np.ndarray
    num_cells: int
    indptr: np.ndarray
    indices: np.ndarray

    @property
    def cells(self) -> np.ndarray:
        """The cell of each pixel: (H, W) int32."""
        return self.runs.paint(self.cell_of_run.astype(np.int32))


def make_partition(cells: np.ndarray,
                   indptr: np.ndarray,
                   indices: np.ndarray,
                   labels: Optional[np.ndarray] = None,
                   min_gt_iou: float = 0.) -> Partition:
    """Number the cells that are left densely, drop empty regions, and add those of the truth.

    Args:
        cells (np.ndarray): (H, W), the cell of each pixel as in a pipeline, ``NO_CELL`` for none.
        indptr (np.ndarray): (R + 1,)
        indices (np.ndarray): (nnz,), region r consists of ``indices[indptr[r]:indptr[r + 1]]``.
        labels (np.ndarray, optional): (H, W). If given, cells are split by the 8-connected
            components of equal labels, and each component is one more region, after the others and
            in the order of its first pixel. Pixels labelled 255 are in none.
        min_gt_iou (float): Regions whose best IoU with a component is lower are dropped; all pixels
            count, labelled or not. Without any component, all are kept.

    Returns:
        Partition: Cells and regions.
    """
    if labels is None:
        runs = find_runs(cells)
        component = np.zeros(len(runs.first), np.int64)
    else:
        runs = find_runs(cells, labels)
        label_runs, components = connected_components(labels, UNLABELLED)
        component = components[np.searchsorted(label_runs.last, runs.first)]
    num_components = component.max(initial=0)
    old = cells.ravel()[runs.first]

    # a new cell for each pair of old cell and component; those of one old cell are neighbours
    pairs, new = np.unique(old * (num_components + 1) + component, return_inverse=True)
    old_of, component_of = np.divmod(pairs, num_components + 1)
    real = (old_of != NO_CELL) | (component_of > 0)
    cell_of_run = np.where(real, np.cumsum(real) - 1, -1)[new]
    old_of, component_of = old_of[real], component_of[real]

    start = np.searchsorted(old_of, indices)
    count = np.searchsorted(old_of, indices, side='right') - start
    indptr = np.append(0, np.cumsum(count))[indptr]
    # where a region is empty, its end is that of the one before
    indptr = np.append(0, indptr[1:][np.diff(indptr) > 0])
    proposals = Partition(runs, cell_of_run, len(old_of), indptr, ranges(start, count))
    if num_components == 0:
        return proposals
    if min_gt_iou > 0:
        keep = _best_iou(proposals, component_of, num_components) >= min_gt_iou
        proposals = _select(proposals, keep)
    # a stable sort: the cells of a component stay ascending
    truth = np.argsort(component_of, kind='stable')[np.count_nonzero(component_of == 0):]
    ends = len(proposals.indices) + np.cumsum(np.bincount(component_of)[1:])
    return proposals._replace(
        indptr=np.append(proposals.indptr, ends), indices=np.append(proposals.indices, truth))


def make_rectangular(partition: Partition, seed: int = 0) -> Partition:
    """Replace each region by its bounding box.

    The new cells are the pixels that lie in the same boxes, numbered in the order of their first
    pixels. Each box has a random number of 64 bits, and pixels whose numbers add up to the same are
    in the same boxes (with 2,000 boxes and 100,000 cells, the probability that two sums coincide by
    accident is below 1e-9).

    Args:
        partition (Partition): Cells and regions.
        seed (int): Of these numbers. The result does not depend on it.

    Returns:
        Partition: Cells and as many regions, whose masks are rectangles.
    """
    height, width = partition.runs.shape
    num_regions = len(partition.indptr) - 1
    if num_regions == 0:
        return partition
    x1, y1, x2, y2 = _region_boxes(partition).T
    numbers = np.random.default_rng(seed).integers(
        1, np.iinfo(np.uint64).max, num_regions, dtype=np.uint64)
    # the sum at a pixel by its differences; unsigned numbers wrap around, so nothing is lost
    total = np.zeros((height + 1, width + 1), np.uint64)
    for y, x, values in ((y1, x1, numbers), (y2 + 1, x2 + 1, numbers), (y1, x2 + 1, 0 - numbers),
                         (y2 + 1, x1, 0 - numbers)):
        np.add.at(total, (y, x), values)
    total = total.cumsum(axis=0).cumsum(axis=1)[:height, :width]

    runs = find_runs(total)
    sums, first, cell_of_run = np.unique(
        total.ravel()[runs.first], return_index=True, return_inverse=True)
    order = np.argsort(first)
    order = order[sums[order] != 0]
    number = np.full(len(sums), -1, np.int64)
    number[order] = np.arange(len(order))

    # a cell is in a box if its first pixel is; those in the rows of a box follow each other
    y, x = np.divmod(runs.first[first[order]], width)
    start = np.searchsorted(y, y1)
    count = np.searchsorted(y, y2, side='right') - start
    cell, region = ranges(start, count), np.repeat(np.arange(num_regions), count)
    inside = (x[cell] >= x1[region]) & (x[cell] <= x2[region])
    indptr = np.append(0, np.cumsum(np.bincount(region[inside], minlength=num_regions)))
    return Partition(runs, number[cell_of_run], len(order), indptr, cell[inside])


def _region_boxes(partition: Partition) -> np.ndarray:
    """Bounding boxes: (R, 4) int64, x1, y1, x2, y2 of the outermost pixels."""
    inside = partition.cell_of_run >= 0
    runs, cell = partition.runs.boxes[inside], partition.cell_of_run[inside]
    upper_left = np.full((partition.num_cells, 2), max(partition.runs.shape))
    lower_right = np.full((partition.num_cells, 2), -1)
    np.minimum.at(upper_left, cell, runs[:, :2])
    np.maximum.at(lower_right, cell, runs[:, 2:])
    starts = partition.indptr[:-1]
    return np.concatenate([np.minimum.reduceat(upper_left[partition.indices], starts),
                           np.maximum.reduceat(lower_right[partition.indices], starts)], axis=1)


def _best_iou(partition: Partition, component_of: np.ndarray, num_components: int) -> np.ndarray:
    """Highest IoU of each region with a component, (R,); every cell lies in one component or 0."""
    from scipy.sparse import csr_array
    inside = partition.cell_of_run >= 0
    sizes = np.bincount(partition.cell_of_run[inside], partition.runs.lengths[inside],
                        minlength=partition.num_cells)
    members = csr_array((np.ones(len(partition.indices)), partition.indices, partition.indptr),
                        shape=(len(partition.indptr) - 1, partition.num_cells))
    labelled = component_of > 0
    common = (members @ csr_array(
        (sizes[labelled], (np.flatnonzero(labelled), component_of[labelled] - 1)),
        shape=(partition.num_cells, num_components))).tocoo()
    areas = members @ sizes
    truth = np.bincount(component_of, sizes, minlength=num_components + 1)[1:]
    best = np.zeros(len(areas))
    np.maximum.at(best, common.row,
                  common.data / (areas[common.row] + truth[common.col] - common.data))
    return best


def _select(partition: Partition, keep: np.ndarray) -> Partition:
    """Keep some of the regions."""
    counts = np.diff(partition.indptr)
    return partition._replace(
        indptr=np.append(0, np.cumsum(counts[keep])),
        indices=partition.indices[np.repeat(keep, counts)])
