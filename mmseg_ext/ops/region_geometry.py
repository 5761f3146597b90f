"""Where the regions of an image are: boxes, masks on a feature map, masks on a grid of bins."""
from typing import Optional, Tuple

import torch
from torch import Tensor

from . import library
from .checks import (
    MOST_SIZE,
    check_ignore_index,
    check_index,
    check_indptr,
    check_labels,
    check_size,
    check_tensors,
    check_whole,
    is_integer,
)
from .pixel_runs import ranges
from .region_set import RegionSet

MASK_RULES = ('half', 'any')
#: As in the kernel: more than an image of 8,000 x 8,000 pixels has if each is a cell.
MOST_CELLS = 1 << 26


def region_geometry(regions: RegionSet,
                    size: Tuple[int, int],
                    stride: int,
                    *,
                    mask_rule: str = 'any',
                    implementation: Optional[str] = None) -> Tuple[Tensor, Tensor]:
    """Find the boxes of regions, and the positions of a feature map that lie in them.

    Position (i, j) of the map stands for the pixels [i s, (i + 1) s) x [j s, (j + 1) s). The paper
    (Eq. 6 of `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_) leaves open which of the positions that a region touches
    lie in it. With ``mask_rule='any'``, as in the released code, all of them do. With ``'half'``
    those do of which it covers at least half of the pixels in the image; a region with no such
    position keeps those of which it covers the most pixels.

    Args:
        regions (RegionSet): R regions of an image of H x W pixels, on the CPU.
        size (tuple[int, int]): Height and width of the map. It may reach beyond the image.
        stride (int): s, pixels per position of the map.
        mask_rule (str): ``'any'`` or ``'half'``, see above. Defaults to ``'any'``.
        implementation (str, optional): ``'cpp'`` or ``'reference'``; None for the fastest.

    Returns:
        tuple[Tensor, Tensor]: Boxes x1, y1, x2, y2 of the outermost pixels, both inside, (R, 4)
        int64, and masks (R, h, w) bool.

    Raises:
        ValueError: If the map does not cover the image, a region has no pixel, ``regions`` is not
            a ``RegionSet`` with the right types, or ``mask_rule`` is unknown.
        RuntimeError: If ``implementation`` is asked for and is not there.
    """
    check_regions(regions)
    if mask_rule not in MASK_RULES:
        raise ValueError(f'mask_rule must be one of {MASK_RULES}, got {mask_rule!r}.')
    check_size('size', size)
    check_whole('stride', stride, 1, MOST_SIZE)
    height, width = regions.cells.shape
    if height > size[0] * stride or width > size[1] * stride:
        raise ValueError(f'A map of {size[0]}x{size[1]} positions of {stride}x{stride} pixels does '
                         f'not cover an image of {height}x{width}.')
    return OP(*(x.contiguous() for x in regions), *size, stride, mask_rule == 'half',
              implementation=implementation)


def reference(cells: Tensor, indptr: Tensor, indices: Tensor, height: int, width: int, stride: int,
              half: bool) -> Tuple[Tensor, Tensor]:
    """Plain PyTorch: what the kernel is compared with."""
    regions = RegionSet(cells, indptr, indices)
    number, positions = regions.num_regions, height * width
    if regions.num_cells > MOST_CELLS:
        raise ValueError(f'cells holds the number {regions.num_cells - 1}, but there may be '
                         f'{MOST_CELLS} cells at most, from 0 on.')
    empty = (indptr.diff() == 0).any() or (
        len(indices) and not 0 <= indices.min() <= indices.max() < regions.num_cells)
    boxes = None if empty else regions.boxes()
    if empty or (boxes[:, 0] > boxes[:, 2]).any():
        raise ValueError('Every region must have a pixel.')

    # how many pixels each cell has in each position of the map
    y, x = (cells >= 0).nonzero(as_tuple=True)
    position = y // stride * width + x // stride
    pairs, pixels = torch.unique(cells[y, x].long() * positions + position, return_counts=True)
    begin = torch.searchsorted(pairs, indices * positions)
    count = torch.searchsorted(pairs, (indices + 1) * positions) - begin
    entry = torch.from_numpy(ranges(begin.numpy(), count.numpy()))
    row = torch.repeat_interleave(regions.region_of_entry, count)
    covered = torch.zeros(number * positions, dtype=torch.int64)
    covered.index_add_(0, row * positions + pairs[entry] % positions, pixels[entry])
    covered = covered.view(number, positions)
    inside = torch.ones_like(cells, dtype=torch.int64)
    rows, columns = (torch.arange(side) // stride for side in cells.shape)
    total = torch.zeros(positions, dtype=torch.int64).index_add_(
        0, (rows[:, None] * width + columns).flatten(), inside.flatten())

    masks = covered > 0
    if half:
        masks &= 2 * covered >= total
    most = covered.max(dim=1, keepdim=True)[0]
    masks |= (covered == most) & ~masks.any(dim=1, keepdim=True)
    return boxes, masks.view(number, height, width)


OP = library.Op(
    'region_geometry(Tensor cells, Tensor indptr, Tensor indices, int height, int width, '
    'int stride, bool half) -> (Tensor, Tensor)',
    lambda cells, indptr, indices, height, width, stride, half: (
        indptr.new_empty(indptr.size(0) - 1, 4),
        indptr.new_empty(indptr.size(0) - 1, height, width, dtype=torch.bool)),
    reference)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor, such as a part of a ``RegionSet``, to a device without waiting for it."""
    if device.type == 'cuda' and tensor.device.type == 'cpu':
        # from pageable memory the copy would wait for the GPU's queue, non_blocking or not
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def check_regions(regions: RegionSet) -> None:
    """Refuse regions whose types, shapes or ``indptr`` are wrong.

    Raises:
        ValueError: If so.
    """
    if not isinstance(regions, tuple) or len(regions) != 3:
        raise ValueError(f'regions must be a RegionSet, got {type(regions).__name__}.')
    cells, indptr, indices = regions
    check_tensors(cells=cells, indptr=indptr, indices=indices)
    if [x.dtype for x in regions] != [torch.int32, torch.int64, torch.int64]:
        raise ValueError('The cells of regions must be int32 and their index int64, got '
                         f'{[x.dtype for x in regions]}.')
    if cells.ndim != 2:
        raise ValueError(f'The cells of regions must be (H, W), got {tuple(cells.shape)}.')
    check_indptr(indptr, indices)


def region_grid_masks(regions: RegionSet, boxes: Tensor, size: Tuple[int, int]) -> Tensor:
    """Sample the mask of each region on a grid over its box, as the released code does.

    The mask of the box is resized to the grid by bilinear interpolation without smoothing, and
    what is above 0 is in the region. Source: the code of `Region-based semantic segmentation with
    end-to-end training <https://arxiv.org/abs/1607.07671>`_; for ``free_form_roi_pool`` with
    ``mode='calvin'``.

    Args:
        regions (RegionSet): R regions.
        boxes (Tensor): Their boxes as returned by ``region_geometry``, (R, 4) int64.
        size (tuple[int, int]): ph and pw.

    Returns:
        Tensor: (R, ph, pw) bool.

    Raises:
        ValueError: If ``regions`` is not a ``RegionSet``, or ``boxes`` does not hold one box in
            the image for each region.
    """
    check_regions(regions)
    check_size('size', size)
    cells, indptr, indices = regions
    number = regions.num_regions
    _check_boxes(boxes, number, cells)
    if number == 0:
        return torch.zeros(0, *size, dtype=torch.bool)
    rows, columns = (_neighbours(boxes[:, i], boxes[:, i + 2], size[1 - i]) for i in (1, 0))
    region = torch.arange(number)[:, None, None]
    check_index(indptr, indices, regions.num_cells, of='cells')
    # a pair (region, cell) is one number, -1 is a cell too; the pairs of the index are sorted
    step = regions.num_cells + 1
    members = regions.region_of_entry * step + indices
    masks = torch.zeros(number, *size, dtype=torch.bool)
    for y, counts_y in rows:
        for x, counts_x in columns:
            pair = cells[y[:, :, None], x[:, None, :]].long() + region * step
            entry = torch.searchsorted(members, pair).clamp(max=max(len(members) - 1, 0))
            inside = members[entry] == pair if len(members) else torch.zeros_like(masks)
            masks |= inside & counts_y[:, :, None] & counts_x[:, None, :]
    return masks


def _check_boxes(boxes: Tensor, number: int, cells: Tensor) -> None:
    check_tensors(boxes=boxes)
    if boxes.shape != (number, 4) or not is_integer(boxes):
        raise ValueError(f'boxes must be integers ({number}, 4), one for each region, got '
                         f'{boxes.dtype} {tuple(boxes.shape)}.')
    height, width = cells.shape
    first, last = boxes.long().split(2, dim=1)
    inside = (first >= 0) & (first <= last) & (last < last.new_tensor([width, height]))
    if not inside.all():
        raise ValueError('boxes must be x1, y1, x2, y2 with 0 <= x1 <= x2 and 0 <= y1 <= y2 in the '
                         f'image of {height}x{width} pixels.')


def _neighbours(first: Tensor, last: Tensor, number: int) -> list:
    """The two pixels between which each sample lies, and whether they have a weight: (R, P)."""
    length = (last - first + 1)[:, None]
    # in units of 1 / (2 P) pixels, as whole numbers: (i + 1/2) L / P - 1/2
    position = (2 * torch.arange(number) + 1) * length - number
    low, rest = position.div(2 * number, rounding_mode='floor'), position % (2 * number)
    always = torch.ones_like(rest, dtype=torch.bool)
    return [((low + i).clamp(min=0).minimum(length - 1) + first[:, None],
             rest > 0 if i else always) for i in (0, 1)]


def label_counts(regions: RegionSet,
                 labels: Tensor,
                 num_classes: int,
                 ignore_index: int = 255) -> Tensor:
    """Count the labels of the pixels of each cell.

    Args:
        regions (RegionSet): Regions of an image of H x W pixels with S cells.
        labels (Tensor): Label of each pixel, (H', W') with H' >= H and W' >= W. Pixels beyond the
            image do not count.
        num_classes (int): C.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.

    Returns:
        Tensor: (S, C) int64, on the device of the labels.

    Raises:
        ValueError: If the labels are smaller than the image or not integers or, on a CPU, one is
            neither a class nor ``ignore_index``.
    """
    check_regions(regions)
    check_tensors(labels=labels)
    check_whole('num_classes', num_classes, 1, MOST_SIZE)
    ignore_index = check_ignore_index(ignore_index)
    height, width = regions.cells.shape
    if not is_integer(labels):
        raise ValueError(f'labels must be integers, got {labels.dtype}.')
    if labels.ndim != 2 or labels.size(0) < height or labels.size(1) < width:
        raise ValueError(f'The regions are those of an image of {height}x{width} pixels, but its '
                         f'label map is {tuple(labels.shape)}.')
    num_cells = regions.num_cells
    cells = to_device(regions.cells, labels.device).long()
    labels = labels[:height, :width].long()
    valid = (cells >= 0) & (labels != ignore_index)
    check_labels(labels, valid, num_classes, ignore_index)
    # pixels that do not count all go to one more entry
    entry = torch.where(valid, cells * num_classes + labels, num_cells * num_classes)
    entry, size = entry.flatten(), num_cells * num_classes + 1
    if labels.device.type == 'cpu':
        table = torch.bincount(entry, minlength=size)
    else:  # where bincount waits for the largest number
        table = entry.new_zeros(size).index_add_(0, entry, torch.ones_like(entry))
    return table[:-1].view(num_cells, num_classes)
