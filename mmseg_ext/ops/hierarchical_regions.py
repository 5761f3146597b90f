"""Region proposals with real shapes: Selective Search that keeps what each region consists of.

Shapes: H x W pixels in K channels, S cells (superpixels), E pairs of neighbouring cells, R regions.
"""
import heapq
from numbers import Real
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np
import torch

from . import library
from .cell_histograms import (
    COLOUR_BINS,
    NUM_COLOURS,
    ORIENTATIONS,
    TEXTURE_BINS,
    reference_histograms,
    texture_filters,
)
from .pixel_runs import find_runs
from .region_tree import RegionTree, pool_hierarchies

COLOUR_SPACES = ('rgb', 'hsv', 'lab')
#: What the two hierarchies over the same cells add up; size and fill are in both.
SIMILARITY_SETS = (('colour', 'texture'), ('texture', ))

#: More pixels than an image may have; a filter beyond the second takes minutes and gigabytes.
MOST, MOST_SIGMA = 1e9, 1e3

HISTOGRAMS = library.Op(
    'cell_histograms(Tensor image, Tensor cells, int num_cells, Tensor colour_bins, '
    'Tensor smooth, Tensor derive, Tensor edges) -> (Tensor, Tensor)',
    lambda image, cells, num_cells, *filters: tuple(
        cells.new_empty((num_cells, image.size(2) * bins))
        for bins in (NUM_COLOURS, ORIENTATIONS * TEXTURE_BINS)))
MERGES = library.Op(
    'merge_cells(Tensor[] histograms, Tensor sizes, Tensor boxes, Tensor pairs, int num_pixels) '
    '-> Tensor',
    lambda histograms, sizes, boxes, pairs, num_pixels: pairs.new_empty(
        (sizes.size(0) - 1, 2)))


def hierarchical_regions(image: np.ndarray,
                         colour_space: str = 'rgb',
                         *,
                         scale: float = 100.,
                         sigma: float = 0.8,
                         min_cell_size: Optional[int] = None,
                         min_size: int = 0,
                         implementation: Optional[str] = None) -> RegionTree:
    """Propose regions of an image at all scales by Selective Search.

    Superpixels are merged, always the two most similar neighbours, until one region is left; all
    that existed on the way are proposals. This is done twice over the same superpixels, for
    colour + texture + size + fill and for texture + size + fill, and what both find is in the
    result once. Each similarity is between 0 and 1:

    * colour: intersection of histograms of 25 bins per channel, which sum to 1;
    * texture: the same of Gaussian derivatives (sigma 1) in 8 orientations, 10 bins per
      orientation and channel;
    * size: 1 - (area a + area b) / area of the image;
    * fill: 1 - (area of the box around both - area a - area b) / area of the image.

    Sources: `Selective Search for Object Recognition
    <https://doi.org/10.1007/s11263-013-0620-5>`_, sections 3.1 and 3.2, with the settings of
    `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_, section 4.1; superpixels: `Efficient Graph-Based Image
    Segmentation <https://doi.org/10.1023/B:VISI.0000022288.19776.77>`_ by scikit-image.

    Args:
        image (np.ndarray): (H, W, 3) uint8, **RGB**. The channels of an image that mmcv has loaded
            are BGR: pass ``image[..., ::-1]``.
        colour_space (str): In which superpixels, colour and texture are computed: ``'rgb'``,
            ``'hsv'`` or ``'lab'``. The latter two become 8-bit numbers as well: 255 times h, s
            and v, which are in [0, 1]; 2.55 * L, a + 128 and b + 128 (D65). Defaults to ``'rgb'``.
        scale (float): k of the superpixels: the higher, the larger they are, in units of 8-bit
            images as in their paper. 100 for SIFT Flow, 400 for PASCAL Context. Defaults to 100.
        sigma (float): Smoothing before the superpixels are found, pixels. Defaults to 0.8.
        min_cell_size (int, optional): Superpixels with fewer pixels are merged with a neighbour.
            Defaults to None: as ``scale``.
        min_size (int): Regions with fewer pixels are left out, except for the whole image.
            Defaults to 0; with the default of ``min_cell_size``, only an image that is smaller
            itself has a region below ``scale`` pixels.
        implementation (str, optional): ``'cpp'`` or ``'reference'`` for all but the superpixels;
            both give the same. Defaults to None: the fastest.

    Returns:
        RegionTree: The regions, from the smallest to the largest, which is the whole image.

    Raises:
        ValueError: If an argument is out of its range.
        ImportError: If scikit-image is not installed.
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        Neighbours share an edge of a pixel (4-neighbourhood), as in the released code of Selective
        Search. Of equally similar pairs the one with the lower cells, then earlier merged regions,
        is merged. The paper leaves open the range of the texture bins: here they go from 0 to the
        response to the steepest step there is, and the outer two are half as wide as the others.
        (The authors' code ends at 0.43 in images from 0 to 1, has sigma 0.8 and reads the first
        channel three times.) Beyond the border the image goes on as at the border. Superpixels
        may differ between machines where pairs of pixels differ equally, as scikit-image sorts
        these differences with ``np.argsort``.

    Example:
        >>> image = np.zeros((40, 60, 3), np.uint8)
        >>> image[:, 30:] = 200
        >>> tree = hierarchical_regions(image)
        >>> tree.areas()
        array([1200, 1200, 2400])
    """
    if implementation not in (None, 'cpp', 'reference'):
        raise ValueError(
            f"implementation must be 'cpp', 'reference' or None, got {implementation!r}.")
    _check(image, colour_space, scale, sigma, min_cell_size, min_size)
    image = convert_colours(image, colour_space)
    cells = _skimage().segmentation.felzenszwalb(
        image, scale=scale, sigma=sigma,
        min_size=int(scale if min_cell_size is None else min_cell_size)).astype(np.int32)
    return group_cells(image, cells, min_size=min_size, implementation=implementation)


def convert_colours(image: np.ndarray, colour_space: str) -> np.ndarray:
    """Convert RGB (H, W, 3) uint8 to the colour space of superpixels, colour and texture, uint8."""
    if colour_space == 'rgb':
        return image
    colour = _skimage().color
    if colour_space == 'hsv':
        return np.rint(255 * colour.rgb2hsv(image)).astype(np.uint8)
    lab = colour.rgb2lab(image) * (2.55, 1, 1) + (0, 128, 128)
    return np.rint(lab).astype(np.uint8)


def group_cells(image: np.ndarray,
                cells: np.ndarray,
                *,
                min_size: int = 0,
                implementation: Optional[str] = None) -> RegionTree:
    """Build the regions of ``hierarchical_regions`` over given cells.

    Args:
        image (np.ndarray): (H, W, K) uint8, in any colour space.
        cells (np.ndarray): (H, W) int32; every number from 0 to S - 1 occurs.
        min_size (int): As in ``hierarchical_regions``.
        implementation (str, optional): As in ``hierarchical_regions``.

    Returns:
        RegionTree: The regions.

    Raises:
        ValueError: If the types or sizes do not fit, or a number of a cell is left out.
    """
    _check_cells(image, cells)
    histograms_of, merge = _implementation(
        HISTOGRAMS.choose(implementation, torch.device('cpu')))
    num_cells = int(cells.max()) + 1
    runs = find_runs(cells)
    cell_of_run = runs.pick(cells)
    sizes, boxes = runs.areas(cell_of_run, num_cells), runs.bounds(cell_of_run, num_cells)
    pairs = neighbouring_cells(cells)
    histograms = histograms_of(image, cells, num_cells)
    merges = [merge([histograms[name] for name in names], sizes, boxes, pairs, cells.size)
              for names in SIMILARITY_SETS]
    return pool_hierarchies(cells, sizes, merges, min_size)


def neighbouring_cells(cells: np.ndarray) -> np.ndarray:
    """Find the cells of a map (H, W) that share an edge of a pixel: (E, 2) int64, sorted, each pair
    once with the lower cell first.
    """
    num_cells = cells.max() + 1
    first = np.concatenate([cells[:, :-1].ravel(), cells[:-1].ravel()]).astype(np.int64)
    second = np.concatenate([cells[:, 1:].ravel(), cells[1:].ravel()]).astype(np.int64)
    differ = first != second
    first, second = first[differ], second[differ]
    # one number for a pair, as that is sorted much faster
    pairs = np.unique(np.minimum(first, second) * num_cells + np.maximum(first, second))
    return np.stack(np.divmod(pairs, num_cells), axis=1)


def reference_merges(histograms: Sequence[np.ndarray], sizes: np.ndarray, boxes: np.ndarray,
                     pairs: np.ndarray, num_pixels: int) -> np.ndarray:
    """Merge the most similar neighbours until one region is left.

    Histograms are counts (S, bins), each compared by its intersection; boxes are x1, y1, x2, y2,
    all inside; pairs (E, 2) are neighbours. Row i of the result, (S - 1, 2) int64, says which two,
    the lower first, became region S + i.
    """
    histograms = [list(np.asarray(histogram, np.int64)) for histogram in histograms]
    sizes, boxes = sizes.tolist(), boxes.tolist()
    neighbours = [set() for _ in sizes]
    for a, b in pairs.tolist():
        neighbours[a].add(b)
        neighbours[b].add(a)

    def union_box(a: int, b: int) -> List[int]:
        return [*map(min, boxes[a][:2], boxes[b][:2]), *map(max, boxes[a][2:], boxes[b][2:])]

    def similarity(a: int, b: int) -> float:
        total = 0.
        for histogram in histograms:
            # min(count a / size a, count b / size b), times both sizes
            common = np.minimum(histogram[a] * sizes[b], histogram[b] * sizes[a]).sum()
            total += int(common) / (int(histogram[a].sum()) * sizes[b])
        x1, y1, x2, y2 = union_box(a, b)
        total += (num_pixels - sizes[a] - sizes[b]) / num_pixels
        total += (num_pixels - (x2 - x1 + 1) * (y2 - y1 + 1) + sizes[a] + sizes[b]) / num_pixels
        return total

    # the most similar pair first, of equal ones that with the lower numbers
    heap = [(-similarity(a, b), a, b) for a, b in pairs.tolist()]
    heapq.heapify(heap)
    alive = set(range(len(sizes)))
    merges = []
    while heap:
        _, a, b = heapq.heappop(heap)
        if a not in alive or b not in alive:
            continue
        new = len(sizes)
        merges.append((a, b))
        sizes.append(sizes[a] + sizes[b])
        boxes.append(union_box(a, b))
        for histogram in histograms:
            # the mean of the normalised histograms, weighted by size
            histogram.append(histogram[a] + histogram[b])
        neighbours.append((neighbours[a] | neighbours[b]) - {a, b})
        alive -= {a, b}
        alive.add(new)
        for other in neighbours[new]:
            neighbours[other] -= {a, b}
            neighbours[other].add(new)
            heapq.heappush(heap, (-similarity(other, new), other, new))
    return np.array(merges, np.int64).reshape(-1, 2)


def _implementation(which: str) -> Tuple[Callable, Callable]:
    if which == 'reference':
        return reference_histograms, reference_merges

    def histograms_of(image: np.ndarray, cells: np.ndarray, num_cells: int) -> dict:
        smooth, derive, edges = map(torch.from_numpy, texture_filters())
        # copies, as torch takes neither negative strides nor, silently, arrays that are read-only
        image, cells = (torch.from_numpy(x.copy()) for x in (image, cells))
        colour, texture = HISTOGRAMS.dispatch(
            image, cells, num_cells, torch.from_numpy(COLOUR_BINS), smooth, derive, edges)
        return dict(colour=colour, texture=texture)

    def merge(histograms: Sequence[torch.Tensor], sizes: np.ndarray, boxes: np.ndarray,
              pairs: np.ndarray, num_pixels: int) -> np.ndarray:
        return MERGES.dispatch(
            histograms, *map(torch.from_numpy, (sizes, boxes, pairs)), num_pixels).numpy()

    return histograms_of, merge


def _skimage():
    """Import what is used of scikit-image, which nothing else here needs."""
    try:
        import skimage.color
        import skimage.segmentation
    except ImportError as error:
        raise ImportError('hierarchical_regions takes its superpixels from scikit-image, which '
                          f'cannot be imported ({error}): pip install scikit-image') from error
    return skimage


def _check_cells(image: np.ndarray, cells: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or not isinstance(cells, np.ndarray):
        raise ValueError(f'image and cells must be numpy arrays, got {type(image).__name__} and '
                         f'{type(cells).__name__}.')
    if image.dtype != np.uint8 or image.ndim != 3 or image.size == 0:
        raise ValueError('image must be (H, W, K) uint8 with a pixel at least, got '
                         f'{image.shape} {image.dtype}.')
    if cells.dtype != np.int32 or cells.shape != image.shape[:2]:
        raise ValueError(f'cells must be int32 {image.shape[:2]}, as the image, got {cells.dtype} '
                         f'{cells.shape}.')
    # the numbers are not counted before they are known to be no more than the pixels
    if cells.min() < 0 or cells.max() >= cells.size or (np.bincount(cells.ravel()) == 0).any():
        raise ValueError('Every number from 0 to the highest must be the number of a cell with a '
                         f'pixel, got {cells.min()} to {cells.max()} in {cells.size} pixels.')


def _check(image: np.ndarray, colour_space: str, scale: float, sigma: float,
           min_cell_size: Optional[int], min_size: int) -> None:
    if not isinstance(image, np.ndarray):
        raise ValueError(f'image must be a numpy array, got {type(image).__name__}; of a tensor '
                         'pass image.permute(1, 2, 0).numpy().')
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f'image must be (H, W, 3) uint8 with a pixel at least, got {image.shape} '
                         f'{image.dtype}; a grey one becomes RGB by np.stack([grey] * 3, axis=2).')
    if colour_space not in COLOUR_SPACES:
        raise ValueError(f'colour_space must be one of {COLOUR_SPACES}, got {colour_space!r}.')
    for name, value, most in (('scale', scale, MOST), ('sigma', sigma, MOST_SIGMA),
                              ('min_cell_size', min_cell_size or 0, MOST),
                              ('min_size', min_size, MOST)):
        if not isinstance(value, Real) or not value >= 0:
            raise ValueError(f'{name} must not be negative, got {value}.')
        if value > most:
            raise ValueError(f'{name} must be at most {most:g}, got {value:g}.')
