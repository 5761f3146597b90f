"""What ``hierarchical_regions`` compares of cells: histograms of their colours and their texture.

Shapes: H x W pixels in K channels, S cells (superpixels).
"""
from typing import Dict, Tuple

import numpy as np

NUM_COLOURS = 25
#: Bin of each value of a channel. As in the released code the outer two are half as wide.
COLOUR_BINS = np.rint(np.arange(256) * (NUM_COLOURS - 1) / 255).astype(np.int32)
ORIENTATIONS, TEXTURE_BINS = 8, 10
TEXTURE_SIGMA, TEXTURE_RADIUS = 1.0, 4
#: What 1 is in the weights of the texture filters. They are whole numbers, as are the histograms
#: and what is compared of them, so every machine and implementation merges the same cells.
ONE = 1 << 12


def reference_histograms(image: np.ndarray, cells: np.ndarray,
                         num_cells: int) -> Dict[str, np.ndarray]:
    """Count colours and oriented derivatives of an image (H, W, K) uint8 in each cell.

    Gives ``'colour'`` (S, K * 25) and ``'texture'`` (S, K * 8 * 10) int64: every pixel counts once
    in the 25 or 10 bins of each channel and orientation.
    """
    smooth, derive, edges = texture_filters()
    along_x = _correlate(_correlate(image, derive, axis=1), smooth, axis=0)
    along_y = _correlate(_correlate(image, smooth, axis=1), derive, axis=0)
    # The derivatives along the diagonals are these divided by the square root of 2. In 64 bits: at
    # a corner of full contrast they are up to twice the steepest step, more than 2^31.
    falling, rising = along_x.astype(np.int64) + along_y, along_x.astype(np.int64) - along_y
    bins = [np.searchsorted(edges[kind], sign * response, side='right')
            for kind, responses in enumerate([(along_x, along_y), (falling, rising)])
            for response in responses for sign in (1, -1)]
    return dict(
        colour=_count(COLOUR_BINS[image], cells, num_cells, NUM_COLOURS),
        texture=_count(np.stack(bins, axis=3), cells, num_cells, TEXTURE_BINS))


def texture_filters() -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the filters of the texture, in whole numbers.

    Returns:
        tuple[np.ndarray]: The weights of a Gaussian (9,) and of its derivative (9,), and the lower
        edges of bins 1 to 9 (2, 9), along the axes and, times the square root of 2, along the
        diagonals; int32. The last bin is around the response to a step from 0 to 255.
    """
    x = np.arange(-TEXTURE_RADIUS, TEXTURE_RADIUS + 1)
    smooth = np.exp(-x**2 / (2 * TEXTURE_SIGMA**2))
    smooth /= smooth.sum()
    derive = x / TEXTURE_SIGMA**2 * smooth
    smooth, derive = np.rint(ONE * smooth), np.rint(ONE * derive)
    steepest = 255 * derive[x > 0].sum() * smooth.sum()
    edges = (np.arange(1, TEXTURE_BINS) - 0.5) / (TEXTURE_BINS - 1) * steepest
    edges = np.rint(np.stack([edges, edges * np.sqrt(2)]))
    return smooth.astype(np.int32), derive.astype(np.int32), edges.astype(np.int32)


def _correlate(values: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Correlate with 2 * radius + 1 weights along an axis; the border is repeated."""
    length = values.shape[axis]
    padding = [(0, 0)] * values.ndim
    padding[axis] = (TEXTURE_RADIUS, TEXTURE_RADIUS)
    padded = np.moveaxis(np.pad(values.astype(np.int32), padding, mode='edge'), axis, 0)
    total = sum(weight * padded[i:i + length] for i, weight in enumerate(weights))
    return np.moveaxis(total, 0, axis)


def _count(bins: np.ndarray, cells: np.ndarray, num_cells: int, num_bins: int) -> np.ndarray:
    """Histograms (S, columns * num_bins) of the bins (H, W, ...), whose columns are kept apart."""
    columns = bins.reshape(cells.size, -1)
    num_columns = columns.shape[1]
    which = cells.reshape(-1, 1) * num_columns + np.arange(num_columns)
    counts = np.bincount((which * num_bins + columns).ravel(),
                         minlength=num_cells * num_columns * num_bins)
    return counts.reshape(num_cells, num_columns * num_bins)
