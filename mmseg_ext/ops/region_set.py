"""The regions of one image, from a file to a head, and the arithmetic of their index."""
from collections import namedtuple
from functools import cached_property
from typing import Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from .checks import MOST_SIZE, check_index, check_whole
from .pixel_runs import find_runs

Array = Union[np.ndarray, Tensor]


class RegionSet(namedtuple('RegionSet', ['cells', 'indptr', 'indices'])):
    """Regions of an image, each of them some of its cells (superpixels).

    The parts are NumPy arrays in files and pipelines, and tensors on the CPU in a data sample. What
    is computed from them is of the same kind.

    Shapes: H x W pixels, R regions, S cells.

    Args:
        cells (np.ndarray | Tensor): (H, W) int32, the cell of each pixel, 0 to S - 1; -1 where
            there is no cell.
        indptr (np.ndarray | Tensor): (R + 1,) int64. Region r consists of the cells
            ``indices[indptr[r]:indptr[r + 1]]``, of which it has at least one.
        indices (np.ndarray | Tensor): (nnz,) int64, cells; ascending within a region.
        num_cells (int, optional): S, if it is known. Defaults to None: one more than the highest
            number on the map, looked for when it is needed.
    """

    def __new__(cls, cells: Array, indptr: Array, indices: Array,
                num_cells: Optional[int] = None) -> 'RegionSet':
        """Keep the number of cells beside the parts; copies and pickles have it too."""
        regions = super().__new__(cls, cells, indptr, indices)
        if num_cells is not None:
            regions.num_cells = num_cells
        return regions

    @cached_property
    def num_cells(self) -> int:
        """S."""
        return 0 if 0 in self.cells.shape else int(self.cells.max()) + 1

    @property
    def num_regions(self) -> int:
        """R."""
        return len(self.indptr) - 1

    @property
    def region_of_entry(self) -> Array:
        """The region that each entry of ``indices`` belongs to: (nnz,) int64."""
        return self._alike(np.repeat(np.arange(self.num_regions), np.diff(self.indptr)))

    def transposed(self) -> Tuple[Array, Array]:
        """The regions of each cell: ``indptr`` (S + 1,) and ``indices`` (nnz,)."""
        index = (torch.as_tensor(part) for part in self[1:])
        return tuple(self._alike(part) for part in transpose_index(*index, self.num_cells))

    def members(self, region: int) -> Array:
        """Cells of a region, ascending."""
        return self.indices[self.indptr[region]:self.indptr[region + 1]]

    def mask(self, region: int) -> Array:
        """Pixels of a region: (H, W) bool."""
        return self._alike(np.isin(self.cells, self.members(region)))

    def cell_areas(self) -> Array:
        """Pixels of each cell: (S,) int64."""
        runs = find_runs(np.asarray(self.cells))
        return self._alike(runs.areas(runs.pick(self.cells), self.num_cells))

    def areas(self) -> Array:
        """Pixels of each region: (R,) int64."""
        return self._alike(self.over_cells(np.add, self.cell_areas()))

    def boxes(self) -> Array:
        """Bounding boxes: (R, 4) int64, x1, y1, x2, y2 of the outermost pixels.

        Both corners are inside, as in RoI pooling. A region without pixels has x2 < x1.
        """
        runs = find_runs(np.asarray(self.cells))
        return self._alike(self.join_boxes(runs.bounds(runs.pick(self.cells), self.num_cells)))

    def join_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """From the boxes of the cells, (S, 4), to the boxes of the regions, (R, 4)."""
        return np.concatenate([self.over_cells(np.minimum, boxes[:, :2]),
                               self.over_cells(np.maximum, boxes[:, 2:])], axis=1)

    def over_cells(self, ufunc: np.ufunc, values: Array) -> np.ndarray:
        """Combine the values of cells, (S, ...), over the cells of each region: (R, ...)."""
        indptr, indices = map(np.asarray, self[1:])
        return ufunc.reduceat(np.asarray(values)[indices], indptr[:-1])

    def select(self, keep: np.ndarray) -> 'RegionSet':
        """Keep some of the regions, (R,) bool, and all cells."""
        counts = np.diff(self.indptr)
        index = np.append(0, np.cumsum(counts[keep])), self.indices[np.repeat(keep, counts)]
        return RegionSet(self.cells, *map(self._alike, index), self.num_cells)

    def arrays(self) -> 'RegionSet':
        """The same as NumPy arrays, which share its memory."""
        return RegionSet(*map(np.asarray, self), self.num_cells)

    def tensors(self) -> 'RegionSet':
        """The same as tensors, which share its memory."""
        return RegionSet(*map(torch.as_tensor, self), self.num_cells)

    def _alike(self, result: Array) -> Array:
        """Tensors for tensors, arrays for arrays."""
        return torch.as_tensor(result) if isinstance(self.indptr, Tensor) else np.asarray(result)


def transpose_index(indptr: Tensor, indices: Tensor, size: int) -> Tuple[Tensor, Tensor]:
    """Turn "the cells of each region" into "the regions of each cell".

    Args:
        indptr (Tensor): (R + 1,) int64.
        indices (Tensor): Cells, (nnz,) int64.
        size (int): Number of cells S.

    Returns:
        tuple[Tensor, Tensor]: ``indptr`` (S + 1,) and ``indices`` (nnz,), regions in rising order.

    Raises:
        ValueError: If the shapes or types do not fit or, on a CPU, an index is not one of the
            cells.
    """
    check_whole('size', size, 0, MOST_SIZE)
    check_index(indptr, indices, size, of='cells')
    indptr, indices = indptr.long(), indices.long()
    rows = torch.repeat_interleave(
        torch.arange(len(indptr) - 1, device=indptr.device), indptr.diff())
    order = indices.argsort(stable=True)
    counts = torch.bincount(indices, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]), rows[order]
