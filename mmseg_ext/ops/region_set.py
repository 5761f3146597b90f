"""Regions of one image, as a head gets them."""
from typing import NamedTuple

from torch import Tensor


class RegionSet(NamedTuple):
    """Regions of an image, each of them some of its cells.

    Attributes:
        cells (Tensor): (H, W) int32, the cell that each pixel belongs to, 0 to S - 1; -1 for none.
        indptr (Tensor): (R + 1,) int64. Region r consists of the cells
            ``indices[indptr[r]:indptr[r + 1]]``, of which it has at least one.
        indices (Tensor): (nnz,) int64, cells; ascending within a region.
    """
    cells: Tensor
    indptr: Tensor
    indices: Tensor
