"""Label maps as runs of equal pixels: a hundredth of the pixels, so that sorting costs nothing.

Shapes: H x W pixels in N runs.
"""
from typing import NamedTuple, Tuple

import numpy as np


class PixelRuns(NamedTuple):
    """Runs of equal pixels within the rows of maps, in reading order.

    Attributes:
        first (np.ndarray): (N,) int64, position of the first pixel, y * W + x.
        last (np.ndarray): (N,) int64, position of the last pixel.
        shape (tuple[int, int]): (H, W).
    """
    first: np.ndarray
    last: np.ndarray
    shape: Tuple[int, int]

    @property
    def lengths(self) -> np.ndarray:
        """Pixels in each run: (N,) int64."""
        return self.last - self.first + 1

    @property
    def boxes(self) -> np.ndarray:
        """Box of each run: (N, 4) int64, x1, y1, x2, y2, all inside."""
        y, x1 = np.divmod(self.first, self.shape[1])
        return np.stack([x1, y, x1 + self.last - self.first, y], axis=1)

    def pick(self, values: np.ndarray) -> np.ndarray:
        """What a map, (H, W), holds in each run: (N,)."""
        return np.asarray(values).ravel()[self.first]

    def areas(self, labels: np.ndarray, number: int) -> np.ndarray:
        """Pixels of each label, (number,) int64; labels (N,) of the runs, -1 for none."""
        inside = labels >= 0
        areas = np.bincount(labels[inside], self.lengths[inside], minlength=number)
        return areas.astype(np.int64)

    def bounds(self, labels: np.ndarray, number: int) -> np.ndarray:
        """Box of each label, (number, 4) int64 as ``boxes``; x2 < x1 for a label without a run."""
        inside = labels >= 0
        bounds = np.empty((number, 4), np.int64)
        bounds[:] = (*self.shape[::-1], -1, -1)
        np.minimum.at(bounds[:, :2], labels[inside], self.boxes[inside, :2])
        np.maximum.at(bounds[:, 2:], labels[inside], self.boxes[inside, 2:])
        return bounds

    def paint(self, values: np.ndarray) -> np.ndarray:
        """Make the map in which each run has its value: (N,) to (H, W)."""
        return np.repeat(values, self.lengths).reshape(self.shape)


def find_runs(*maps: np.ndarray) -> PixelRuns:
    """Find the longest runs in whose pixels each of the maps is constant.

    Args:
        *maps (np.ndarray): (H, W) each.

    Returns:
        PixelRuns: The runs.
    """
    shape = maps[0].shape
    begins = np.zeros(shape, bool)
    begins[:, :1] = True
    for values in maps:
        begins[:, 1:] |= values[:, 1:] != values[:, :-1]
    first = np.flatnonzero(begins)
    last = np.append(first[1:], begins.size)[:len(first)] - 1
    return PixelRuns(first, last, shape)


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate ``arange(start, start + count)``: (N,) twice to (sum of the counts,)."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def connected_components(labels: np.ndarray, background: int) -> Tuple[PixelRuns, np.ndarray]:
    """Number the 8-connected components of equal labels.

    Args:
        labels (np.ndarray): (H, W).
        background (int): The label that belongs to no component.

    Returns:
        tuple[PixelRuns, np.ndarray]: The runs of the labels, and the component of each, (N,) int64:
        1 to K, in the order of their first pixels; 0 in the background.
    """
    # not at the top, as mmseg without regions does not need it; scikit-image brings it
    from scipy.sparse import coo_array, csgraph
    runs = find_runs(labels)
    label_of_run = runs.pick(labels)
    height, width = runs.shape
    x1, y, x2, _ = runs.boxes.T
    # a run's neighbours in the next row: all that end behind its left and begin before its right
    above = np.flatnonzero(y + 1 < height)
    below = (y[above] + 1) * width
    start = np.searchsorted(runs.last, below + np.maximum(x1[above] - 1, 0))
    stop = np.searchsorted(runs.first, below + np.minimum(x2[above] + 1, width - 1), side='right')
    above, below = np.repeat(above, stop - start), ranges(start, stop - start)
    same = label_of_run[above] == label_of_run[below]
    graph = coo_array((np.ones(np.count_nonzero(same), bool), (above[same], below[same])),
                      shape=(len(label_of_run), len(label_of_run)))
    _, connected = csgraph.connected_components(graph, directed=False)
    counted = label_of_run != background
    _, first, component = np.unique(connected[counted], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    components = np.zeros(len(label_of_run), np.int64)
    components[counted] = rank[component]
    return runs, components
