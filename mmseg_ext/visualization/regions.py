"""Pictures of regions: what the proposals of an image are, and which of them decides a pixel.

Shapes: H x W pixels, R regions, S cells (superpixels), C classes.
"""
from typing import List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmseg_ext.ops import RegionSet
from mmseg_ext.ops.pixel_runs import ranges

from .tiles import (
    CAPTION_HEIGHT,
    best_filter,
    colorize,
    corner,
    grid,
    legend,
    nearest,
    resize,
    stripe,
    truth_tile,
    write,
)

#: Least area of each scale but the first, as a share of the image: powers of four.
SCALES = tuple(4.**-k for k in (5, 4, 3, 2, 1))
SMALLEST = 4.**-6  # share of the image at which the colours of areas begin
PALE = 228, 212, 250


def draw_proposals(image: np.ndarray,
                   regions: RegionSet,
                   truth: Optional[np.ndarray] = None,
                   palette: Optional[Sequence[Sequence[int]]] = None,
                   tile_width: int = 400) -> np.ndarray:
    """Draw the regions of an image by scale, from superpixels to halves of the image.

    Three columns of tiles with a caption each: the image, the ground truth, the cells, and one tile
    for each range of areas in which there are regions. A region is filled with its mean colour and
    has an outline, so that one sees which borders of the image it follows. Where regions of a scale
    overlap, the smallest is drawn (of equal ones the first); the caption says how many there are.
    Pixels that no drawn region covers are pale lilac. The region that is the whole image is not
    drawn.

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        regions (RegionSet): Its regions.
        truth (np.ndarray, optional): Ground truth, (h, w) of any size. Defaults to None: no tile.
        palette (Sequence[Sequence[int]], optional): RGB colour of each class, 0 to 255; needed with
            ``truth``. Defaults to None.
        tile_width (int): Width of a tile in pixels. Defaults to 400.

    Returns:
        np.ndarray: RGB picture, uint8.
    """
    regions = regions.arrays()
    cells, areas, cell_areas = regions.cells, regions.areas(), regions.cell_areas()
    size = tile_width, max(1, round(tile_width * cells.shape[0] / cells.shape[1]))
    colour_of_cell = _mean_colours(image, cells, cell_areas)

    def paint(labels: np.ndarray, colours: np.ndarray) -> np.ndarray:
        """Fill what has a label with its colour, and draw the outlines."""
        enlarged = nearest(labels, size[::-1])
        inside, tile = enlarged >= 0, pale.copy()
        tile[inside] = colours[enlarged[inside]]
        return _outline(tile, enlarged)

    shown = resize(image, size, best_filter(image, size))
    pale = _pale(shown)
    tiles = [(f'image: {_count(regions.num_regions)}', shown)]
    if truth is not None:
        tiles.append(truth_tile(truth, palette, size))
    tiles.append((f'{regions.num_cells} cells, of which all regions consist',
                  paint(cells, colour_of_cell)))
    scale_of = np.searchsorted(SCALES, areas / cells.size, side='right')
    for scale in range(len(SCALES) + 1):
        there = np.flatnonzero((scale_of == scale) & (areas < cell_areas.sum()))
        if len(there) == 0:
            continue
        drawn = _choose(regions, there, areas)
        region_of_cell = np.full(regions.num_cells + 1, -1)  # the last is for pixels without a cell
        colours = np.empty((len(drawn), 3), np.uint8)
        for i, region in enumerate(drawn):
            members = regions.members(region)
            region_of_cell[members] = i
            colours[i] = np.average(
                colour_of_cell[members], axis=0, weights=cell_areas[members]).round()
        caption = f'{_range(scale)} of the image: {_count(len(there))}'
        if len(drawn) < len(there):
            caption += f', {len(drawn)} drawn'
        tiles.append((caption, paint(region_of_cell[cells], colours)))
    return grid(tiles, 3, size)


def draw_winners(image: np.ndarray,
                 prediction: np.ndarray,
                 winners: np.ndarray,
                 regions: RegionSet,
                 palette: Sequence[Sequence[int]],
                 truth: Optional[np.ndarray] = None,
                 classes: Optional[Sequence[str]] = None,
                 tile_width: int = 480) -> np.ndarray:
    """Draw a prediction and the regions that it was taken from.

    Two rows of two tiles with a caption each: image and ground truth; the prediction with the
    borders between the regions that won, and the area of the region that won each pixel. The
    colours of areas are logarithmic and the same for every image. The classes are named below.
    Pixels that lie in no region, and pixels without a label in the ground truth, are striped.

    Args:
        image (np.ndarray): RGB image, (H, W, 3) uint8.
        prediction (np.ndarray): Predicted labels, (H, W).
        winners (np.ndarray): The region that won each pixel, (H, W); -1 for no region, see
            :func:`winning_regions`.
        regions (RegionSet): The regions, for their areas; the image may have another size.
        palette (Sequence[Sequence[int]]): RGB colour of each class, 0 to 255.
        truth (np.ndarray, optional): Ground truth, (H, W). Defaults to None: no tile.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: their numbers.
        tile_width (int): Width of a tile in pixels. Defaults to 480.

    Returns:
        np.ndarray: RGB picture, uint8.
    """
    height, width = prediction.shape
    size = tile_width, max(1, round(tile_width * height / width))
    enlarged = nearest(winners, size[::-1])
    nowhere = enlarged < 0
    regions = regions.arrays()
    shares = np.append(regions.areas(), 0)[enlarged] / regions.cells.size
    num_winners = len(np.unique(winners[winners >= 0]))

    def outline(tile: np.ndarray) -> np.ndarray:
        return stripe(_outline(tile, enlarged), nowhere)

    tiles = [('image', resize(image, size, best_filter(image, size)))]
    if truth is not None:
        tiles.append(truth_tile(truth, palette, size))
    tiles += [(f'prediction, taken from {num_winners} of {_count(regions.num_regions)} (winners)',
               outline(nearest(colorize(prediction, palette), size[::-1]))),
              ("winner's share of the image", outline(_area_colours(shares)))]
    picture = grid(tiles, 2, size)
    _draw_scale(picture, len(tiles) - 1, size)

    present = np.unique(prediction if truth is None else np.append(prediction, truth))
    return np.concatenate([picture, legend(present, palette, classes, picture.shape[1])])


def winning_regions(scores: np.ndarray, regions: RegionSet, prediction: np.ndarray) -> np.ndarray:
    """Find the region that a pixel's class was taken from.

    It is the region with the highest score for the predicted class among those that contain the
    pixel, the first of equal ones: the one that gets the gradient in Eq. 5 of `Region-based
    semantic segmentation with end-to-end training <https://arxiv.org/abs/1607.07671>`_.

    Args:
        scores (np.ndarray): (R, C).
        regions (RegionSet): The regions. Their cells may have another size than the prediction;
            they are then resized (nearest).
        prediction (np.ndarray): Predicted labels, (H, W), 0 to C - 1.

    Returns:
        np.ndarray: (H, W) int64; -1 where no region contains the pixel.
    """
    regions = regions.arrays()
    cells = nearest(regions.cells, prediction.shape).astype(np.int64)
    # pixels of the same cell and class have the same winner
    pairs, pair_of_pixel = np.unique(cells * scores.shape[1] + prediction, return_inverse=True)
    cell, label = np.divmod(pairs, scores.shape[1])

    # the regions of each pair, in rising order; cell -1, the last, is in none
    indptr, region = regions.transposed()
    count = np.append(np.diff(indptr), 0)[cell]
    first = np.cumsum(count) - count
    pair = np.repeat(np.arange(len(pairs)), count)
    candidate = region[ranges(indptr[cell], count)]

    # highest score first within each pair; the sort is stable
    best = np.lexsort((-scores[candidate, label[pair]], pair))
    winner = np.full(len(pairs), -1)
    winner[count > 0] = candidate[best[first[count > 0]]]
    return winner[pair_of_pixel].reshape(prediction.shape)


def _mean_colours(image: np.ndarray, cells: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Mean colour of each cell: (S, 3) uint8."""
    inside = cells >= 0
    sums = [np.bincount(cells[inside], channel[inside]) for channel in np.moveaxis(image, 2, 0)]
    return (np.stack(sums, axis=1) / areas[:, None]).round().astype(np.uint8)


def _choose(regions: RegionSet, candidates: np.ndarray, areas: np.ndarray) -> List[int]:
    """Regions that do not overlap, the smallest first."""
    taken = np.zeros(regions.num_cells, bool)
    chosen = []
    for region in candidates[np.argsort(areas[candidates], kind='stable')]:
        members = regions.members(region)
        if not taken[members].any():
            taken[members] = True
            chosen.append(region)
    return chosen


def _outline(tile: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Draw lines between different labels, of the size of the tile: visible on every colour."""
    tile = tile.copy()
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    tile[:-1][down] = tile[:, :-1][right] = 0
    tile[1:][down] = tile[:, 1:][right] = 255
    return tile


def _pale(image: np.ndarray) -> np.ndarray:
    """A faint image in lilac, which few regions are, where many are white or grey."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[..., None]
    return (np.array(PALE) - 0.2 * (255. - grey)).round().astype(np.uint8)


def _area_colours(shares: np.ndarray) -> np.ndarray:
    """Colours of areas: logarithmic, from dark (``SMALLEST`` of the image) to bright (all)."""
    values = 1 - np.log(np.clip(shares, SMALLEST, 1)) / np.log(SMALLEST)
    values = (255 * values).round().astype(np.uint8)
    return cv2.applyColorMap(values, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def _range(scale: int) -> str:
    """Name a scale."""
    limits = ['0', *(f'1/{1 / share:.0f}' for share in SCALES), 'all']
    if scale == 0:
        return f'below {limits[1]}'
    return f'{limits[scale]} to {limits[scale + 1]}'


def _count(number: int) -> str:
    return f'{number} region' + 's' * (number != 1)


def _draw_scale(picture: np.ndarray, i: int, size: Tuple[int, int]) -> None:
    """Draw the colours of areas into the caption of a tile of a grid with two columns."""
    x, y = corner(i, 2, size)
    length, right = 120, x + size[0] - 36
    bar = SMALLEST**np.linspace(1, 0, length)[None].repeat(CAPTION_HEIGHT - 8, axis=0)
    picture[y - CAPTION_HEIGHT + 4:y - 4, right - length:right] = _area_colours(bar)
    write(picture, f'1/{1 / SMALLEST:.0f}', right - length - 58, y - 5)
    write(picture, 'all', right + 6, y - 5)
