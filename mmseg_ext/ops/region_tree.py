"""The regions of all hierarchies over the same cells, in one list."""
from itertools import chain
from typing import Optional, Sequence

import numpy as np

from .region_set import RegionSet


class RegionTree(RegionSet):
    """Regions of an image and how they came about, as NumPy arrays.

    The regions are in the order of their size, so that a region comes before all that contain it;
    the last is the whole image. After ``cells`` was flipped, cropped or resized (nearest), the same
    index gives the regions of the new image, where some may have no pixels left.

    Attributes:
        cells (np.ndarray): (H, W) int32, as in ``RegionSet``; every pixel has a cell.
        indptr (np.ndarray): (R + 1,) int64.
        indices (np.ndarray): (nnz,) int64.
        parents (np.ndarray): (R, 2) int64. For each hierarchy (0 with colour, 1 without) the region
            that this one and a neighbour were merged into; -1 for the whole image, and where the
            region is of the other hierarchy only.
    """

    def __new__(cls, cells: np.ndarray, indptr: np.ndarray, indices: np.ndarray,
                parents: Optional[np.ndarray] = None) -> 'RegionTree':
        """Add the parents; the last region has all cells, of which a map may have lost some."""
        tree = super().__new__(cls, cells, indptr, indices, int(indices[-1]) + 1)
        tree.parents = parents
        return tree

    def __getnewargs__(self) -> tuple:
        """What a copy or a pickle is made of."""
        return (*self, self.parents)

    def _replace(self, **parts: np.ndarray) -> 'RegionTree':
        return RegionTree(**{**self._asdict(), 'parents': self.parents, **parts})


def pool_hierarchies(cells: np.ndarray, cell_areas: np.ndarray, merges: Sequence[np.ndarray],
                     min_size: int) -> RegionTree:
    """Make one list of the regions of several hierarchies, (S - 1, 2) merges, over S cells."""
    # what a region consists of -> its number in the order of discovery
    numbers = {(cell, ): cell for cell in range(len(cell_areas))}
    parents = [[-1] * len(merges) for _ in numbers]
    for hierarchy, steps in enumerate(merges):
        regions = list(numbers)[:len(cell_areas)]
        for step in steps.tolist():
            regions.append(tuple(sorted(regions[step[0]] + regions[step[1]])))
            number = numbers.setdefault(regions[-1], len(numbers))
            if number == len(parents):
                parents.append([-1] * len(merges))
            for child in step:
                parents[numbers[regions[child]]][hierarchy] = number
    members = list(numbers)
    areas = np.array([cell_areas[list(region)].sum() for region in members])
    order = np.argsort(areas, kind='stable')
    # only smaller regions, which come first, are left out, so that no parent is missing
    first = min(np.searchsorted(areas[order], min_size), len(order) - 1)
    place = np.empty(len(order) + 1, np.int64)
    place[order] = np.arange(len(order)) - first
    place[-1] = -1  # of the parent -1
    order = order[first:]
    return RegionTree(
        cells,
        np.cumsum([0] + [len(members[i]) for i in order], dtype=np.int64),
        np.fromiter(chain.from_iterable(members[i] for i in order), np.int64),
        place[np.array(parents)[order]])
