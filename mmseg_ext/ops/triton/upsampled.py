"""mmseg_ext::upsampled_cross_entropy, its backward and mmseg_ext::upsampled_argmax in Triton.

A program has all classes of some neighbouring pixels of a row in registers: it blends them from the
small map, whose few lines stay in the cache, and nothing of the size of the labels is stored but a
loss and a code for each pixel. Backward: a program owns some neighbouring positions of a row of the
small map, and goes through all pixels that are made of them. A pixel is made of two rows, so its
probabilities are computed twice. In return nothing is added by two programs: no atomic addition
makes the last bits a matter of chance.

Shapes: N images, C classes, small maps (h, w), labels (H, W).
"""
from typing import Any, Dict, Optional, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..library import accumulation_dtype
from .bootstrapped_cross_entropy import EASY, HARD, IGNORED, WRONG, _exponentials, select_and_sum

# Logits of a program, at most, where there are few enough classes.
TILE = 4096
# Pixels of a program at most and at least, and the positions of the small map that a program owns.
# Matrices of tl.dot have sides of at least 16.
MOST_PIXELS, LEAST_PIXELS, POSITIONS = 256, 16, 16


@triton.jit
def _enlarged(image, classes, y, columns, inside, first_row, row_weight, first_column,
              column_weight, height, width, by_class, by_row, by_column, ACC: tl.constexpr,
              CLASSES: tl.constexpr, ROW_TAPS: tl.constexpr, COLUMN_TAPS: tl.constexpr):
    """Enlarged logits of row y at some columns, (classes, columns); -inf where is no such class.

    A weight of 0 counts nothing, whatever it stands at: 0 times infinity would be NaN.
    """
    exist = (classes < CLASSES) & inside[None, :]
    top = tl.load(first_row + y)
    left = tl.load(first_column + columns, mask=inside, other=0)
    result = tl.zeros([classes.shape[0], columns.shape[0]], ACC)
    for i in tl.static_range(ROW_TAPS):
        vertical = tl.load(row_weight + i * height + y)
        for j in tl.static_range(COLUMN_TAPS):
            weight = vertical * tl.load(
                column_weight + j * width + columns, mask=inside, other=0)
            at = classes.to(tl.int64) * by_class + (top + i) * by_row + (
                (left + j) * by_column)[None, :]
            x = tl.load(image + at, mask=exist & (weight != 0)[None, :], other=0).to(ACC)
            result += weight[None, :] * x
    return tl.where(classes < CLASSES, result, float('-inf'))


@triton.jit
def _locate(height, width, BLOCK: tl.constexpr):
    """Image, row and columns of this program, and which of these exist."""
    blocks = tl.cdiv(width, BLOCK)
    line = tl.program_id(0) // blocks
    columns = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    # 64 bits: times a stride this becomes an offset, which may be 2^31 and more
    return (line // height).to(tl.int64), line % height, columns, columns < width


@triton.jit(do_not_specialize=['ignore_index'])
def _forward_kernel(logits, labels, first_row, row_weight, first_column, column_weight, losses,
                    codes, hits, thresh, ignore_index, height, width, by_image, by_class, by_row,
                    by_column, LOWEST: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr,
                    BLOCK: tl.constexpr, ROW_TAPS: tl.constexpr, COLUMN_TAPS: tl.constexpr):
    ACC: tl.constexpr = losses.dtype.element_ty
    image, y, columns, inside = _locate(height, width, BLOCK)
    at = (image * height + y) * width + columns
    label = tl.load(labels + at, mask=inside, other=0)
    is_class = (label >= 0) & (label < CLASSES)
    valid = inside & is_class & (label != ignore_index)
    classes = tl.arange(0, ROWS)[:, None]
    x = _enlarged(logits + image * by_image, classes, y, columns, inside, first_row, row_weight,
                  first_column, column_weight, height, width, by_class, by_row, by_column, ACC,
                  CLASSES, ROW_TAPS, COLUMN_TAPS)
    top, exponentials, total = _exponentials(x, LOWEST)
    target = tl.sum(tl.where(classes == label[None, :], x, 0), axis=0)
    loss = tl.log(total) - (target - top)
    tl.store(losses + at, tl.where(valid, loss, 0), mask=inside)
    tl.store(hits + at, valid & (target == top), mask=inside)

    code = tl.where(valid, EASY, tl.where(is_class | (label == ignore_index), IGNORED, WRONG))
    if thresh is not None:
        exponential = tl.exp(target - top)
        if ACC == tl.float32:  # rounded to nearest, where '/' is not
            probability = tl.div_rn(exponential, total)
        else:
            probability = exponential / total
        easy = probability >= tl.load(thresh)  # a NaN is not
        code = tl.where(valid & (easy == 0), HARD, code)
    tl.store(codes + at, code.to(tl.uint8), mask=inside)


@triton.jit
def _backward_kernel(factors, logits, labels, first_row, row_weight, first_column, column_weight,
                     class_weight, kept, gradient, row_range, column_range, height, width,
                     small_height, small_width, by_image, by_class, by_row, by_column,
                     LOWEST: tl.constexpr, CLASSES: tl.constexpr, ROWS: tl.constexpr,
                     BLOCK: tl.constexpr, ROW_TAPS: tl.constexpr, COLUMN_TAPS: tl.constexpr,
                     OWNED: tl.constexpr):
    ACC: tl.constexpr = factors.dtype.element_ty
    blocks = tl.cdiv(small_width, OWNED)
    line = tl.program_id(0) // blocks
    image, row = (line // small_height).to(tl.int64), line % small_height
    owned = tl.program_id(0) % blocks * OWNED + tl.arange(0, OWNED)
    last = tl.minimum((tl.program_id(0) % blocks + 1) * OWNED, small_width) - 1
    classes = tl.arange(0, ROWS)[:, None]
    factor = tl.load(factors + image)
    sums = tl.zeros([ROWS, OWNED], ACC)
    begin = tl.load(column_range + tl.program_id(0) % blocks * OWNED)
    end = tl.load(column_range + small_width + last)
    for y in range(tl.load(row_range + row), tl.load(row_range + small_height + row)):
        tap = row - tl.load(first_row + y)
        vertical = tl.load(row_weight + tap * height + y)
        for start in range(begin, end, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            inside = columns < end
            at = (image * height + y) * width + columns
            keep = tl.load(kept + at, mask=inside, other=0) != 0
            if tl.max(keep.to(tl.int32), axis=0) != 0:
                x = _enlarged(logits + image * by_image, classes, y, columns, inside, first_row,
                              row_weight, first_column, column_weight, height, width, by_class,
                              by_row, by_column, ACC, CLASSES, ROW_TAPS, COLUMN_TAPS)
                _, exponentials, total = _exponentials(x, LOWEST)
                label = tl.load(labels + at, mask=inside, other=0)
                scale = tl.where(keep, factor * vertical, 0)
                if class_weight is not None:
                    scale *= tl.load(class_weight + label, mask=keep, other=0)
                hit = tl.where(classes == label[None, :], 1.0, 0.0).to(ACC)
                slope = (exponentials / total[None, :] - hit) * scale[None, :]
                slope = tl.where(keep[None, :], slope, 0)
                # which of the columns are made of which position, and how much
                left = tl.load(first_column + columns, mask=inside, other=0)
                share = tl.zeros([BLOCK, OWNED], ACC)
                for j in tl.static_range(COLUMN_TAPS):
                    weight = tl.load(column_weight + j * width + columns, mask=inside, other=0)
                    share += tl.where((left + j)[:, None] == owned[None, :], weight[:, None], 0)
                if ACC == tl.float32:
                    sums += tl.dot(slope, share, input_precision='ieee')
                else:  # there is no product of matrices in float64 everywhere
                    sums += tl.sum(slope[:, :, None] * share[None, :, :], axis=1)
    to = gradient + ((image * CLASSES + classes) * small_height + row) * small_width
    exist = (classes < CLASSES) & (owned < small_width)[None, :]
    tl.store(to + owned[None, :], sums, mask=exist)


@triton.jit
def _argmax_kernel(logits, first_row, row_weight, first_column, column_weight, result, height,
                   width, by_image, by_class, by_row, by_column, CLASSES: tl.constexpr,
                   ROWS: tl.constexpr, BLOCK: tl.constexpr, ROW_TAPS: tl.constexpr,
                   COLUMN_TAPS: tl.constexpr):
    ACC: tl.constexpr = row_weight.dtype.element_ty
    image, y, columns, inside = _locate(height, width, BLOCK)
    classes = tl.arange(0, ROWS)[:, None]
    x = _enlarged(logits + image * by_image, classes, y, columns, inside, first_row, row_weight,
                  first_column, column_weight, height, width, by_class, by_row, by_column, ACC,
                  CLASSES, ROW_TAPS, COLUMN_TAPS)
    # The first of the largest; a NaN is more than any number.
    is_nan = (x != x).to(tl.int32)
    top = tl.max(tl.where(x != x, float('-inf'), x), axis=0)
    is_top = tl.where(tl.max(is_nan, axis=0)[None, :] > 0, is_nan > 0, x == top[None, :])
    best = tl.min(tl.where(is_top, classes, ROWS), axis=0)
    at = (image * height + y) * width + columns
    tl.store(result + at, best.to(result.dtype.element_ty), mask=inside)


def forward(logits: Tensor, labels: Tensor, first_row: Tensor, row_weight: Tensor,
            first_column: Tensor, column_weight: Tensor, class_weight: Optional[Tensor],
            thresh: Optional[float], min_kept: Optional[int], per_image: bool,
            ignore_index: int) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Select the hard pixels and sum their losses: ``mmseg_ext.ops.upsampled_cross_entropy``.

    Logits (N, C, h, w) of any strides; labels int64; class weights of the type that sums have.
    Results as in its ``reference``. Equal inputs give equal bits. On a CPU a ValueError refuses a
    label that is no class; a GPU asserts.
    """
    labels = labels.contiguous()
    losses = torch.empty_like(labels, dtype=accumulation_dtype(logits))
    codes = torch.empty_like(labels, dtype=torch.uint8)
    hits = torch.empty_like(labels, dtype=torch.bool)
    limit = None if thresh is None else losses.new_full((1, ), thresh)
    grid, constants = _launch(logits, first_row, row_weight, first_column, column_weight)
    if labels.numel():
        with torch.cuda.device_of(logits):
            _forward_kernel[grid](
                logits, labels, first_row, row_weight, first_column, column_weight, losses, codes,
                hits, limit, ignore_index, *labels.shape[1:], *logits.stride(),
                LOWEST=torch.finfo(losses.dtype).min, **constants)
    selected = select_and_sum(losses, codes, labels, class_weight, logits.size(1), thresh,
                              min_kept, per_image, ignore_index)
    return (*selected, hits.flatten(1).sum(dim=1), losses)


def backward(gradient: Tensor, logits: Tensor, labels: Tensor, first_row: Tensor,
             row_weight: Tensor, first_column: Tensor, column_weight: Tensor,
             class_weight: Optional[Tensor], kept: Tensor, losses: Tensor) -> Tensor:
    """Give the gradient with respect to the small logits, (N, C, h, w), of their type.

    ``gradient``: (N,), with respect to the sums that ``forward`` returns. ``kept``: (N, H, W) bool,
    as it returns them. ``losses``: not needed, as a program has all classes of its pixels at once.
    The others are its arguments.
    """
    images, classes, height, width = logits.shape
    result = torch.zeros(logits.shape, dtype=gradient.dtype, device=logits.device)
    _, constants = _launch(logits, first_row, row_weight, first_column, column_weight)
    grid = images * height * triton.cdiv(width, POSITIONS),
    if labels.numel() and result.numel():
        with torch.cuda.device_of(logits):
            _backward_kernel[grid](
                gradient.contiguous(), logits, labels.contiguous(), first_row, row_weight,
                first_column, column_weight, class_weight, kept.contiguous(), result,
                _ranges(first_row, len(row_weight), height),
                _ranges(first_column, len(column_weight), width), *labels.shape[1:], height,
                width, *logits.stride(), LOWEST=torch.finfo(gradient.dtype).min, OWNED=POSITIONS,
                **constants)
    return result.to(logits.dtype)


def argmax(logits: Tensor, first_row: Tensor, row_weight: Tensor, first_column: Tensor,
           column_weight: Tensor) -> Tensor:
    """Label every pixel: ``mmseg_ext.ops.upsampled_argmax``."""
    from ..upsampled_argmax import label_dtype
    result = torch.empty((len(logits), len(first_row), len(first_column)),
                         dtype=label_dtype(logits.size(1)), device=logits.device)
    grid, constants = _launch(logits, first_row, row_weight, first_column, column_weight)
    if result.numel():
        with torch.cuda.device_of(logits):
            _argmax_kernel[grid](logits, first_row, row_weight, first_column, column_weight, result,
                                 *result.shape[1:], *logits.stride(), **constants)
    return result


def _ranges(first: Tensor, taps: int, small: int) -> Tensor:
    """For each position of the small map the pixels that are made of it: begin and end, (2, small).

    ``first`` does not fall in the enlargement of a loss, so these are neighbours.
    """
    positions = torch.arange(small, device=first.device, dtype=first.dtype)
    begin = torch.searchsorted(first, positions - taps + 1)
    return torch.stack([begin, torch.searchsorted(first, positions, right=True)]).int()


def _launch(logits: Tensor, first_row: Tensor, row_weight: Tensor, first_column: Tensor,
            column_weight: Tensor) -> Tuple[Tuple[int], Dict[str, Any]]:
    """Grid of the kernels that go pixel by pixel, and constants of all."""
    rows = max(16, triton.next_power_of_2(max(logits.size(1), 1)))
    block = min(MOST_PIXELS, max(LEAST_PIXELS, TILE // rows))
    lines = len(logits) * len(first_row)
    return (lines * triton.cdiv(len(first_column), block), ), dict(
        CLASSES=logits.size(1), ROWS=rows, BLOCK=block, ROW_TAPS=len(row_weight),
        COLUMN_TAPS=len(column_weight), num_warps=min(32, max(4, rows * block // 1024)))
