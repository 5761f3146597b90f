"""mmseg_ext::free_form_roi_pool and its backward in Triton.

A program takes a bin and a block of channels, and walks the positions of the bin. No index of the
positions is made: its size would have to be waited for. Backward: it walks the bin again and finds
the winner of each channel as the first that equals the maximum.

Shapes: N images, D channels, K regions, map of h x w positions, grid of ph x pw bins. In the
kernels the map is (N * h * w, D) and the bins are (K * ph * pw, D), so that neighbours in memory
are channels.
"""
from typing import Optional, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .gather_max import launch


@triton.jit
def _side(ranges, region, place, regions, number, size):
    """First position of a bin along one side and the first behind it, both on the map."""
    at = region * number + place
    first = tl.load(ranges + at)
    behind = tl.load(ranges + regions * number + at)
    return tl.maximum(first, 0), tl.minimum(behind, size)


@triton.jit
def _walk(images, rows, columns, count, regions, height, width, grid_height, grid_width,
          COLUMN_MAJOR: tl.constexpr):
    """Region and image of this program's bin, and its outer and inner ranges with their steps.

    The ranges of a bin whose image does not exist are empty.
    """
    # 64 bits: times the channels this becomes an offset, which may be 2^31 and more
    bin = tl.program_id(0).to(tl.int64)
    region = bin // (grid_height * grid_width)
    image = tl.load(images + region)
    top, bottom = _side(rows, region, bin // grid_width % grid_height, regions, grid_height, height)
    left, right = _side(columns, region, bin % grid_width, regions, grid_width, width)
    is_image = (image >= 0) & (image < count)
    if COLUMN_MAJOR:
        return region, image, is_image, left, tl.where(is_image, right, left), 1, top, bottom, width
    else:
        return region, image, is_image, top, tl.where(is_image, bottom, top), width, left, right, 1


@triton.jit(do_not_specialize=['count', 'regions', 'height', 'width'])
def _forward_kernel(source, images, rows, columns, masks, output, wrong, count, regions, height,
                    width, channels, grid_height, grid_width, COLUMN_MAJOR: tl.constexpr,
                    ACC: tl.constexpr, BLOCK: tl.constexpr):
    region, image, is_image, first, last, step, inner_first, inner_last, inner_step = _walk(
        images, rows, columns, count, regions, height, width, grid_height, grid_width, COLUMN_MAJOR)
    if is_image == 0:
        tl.store(wrong, 1)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    size = (image * 0 + height) * width  # in 64 bits
    found = image * 0
    top = tl.full([BLOCK], float('-inf'), ACC)
    for outer in range(first, last):
        for inner in range(inner_first, inner_last):
            place = outer * step + inner * inner_step
            member = place >= 0
            if masks is not None:
                member = tl.load(masks + region * size + place) != 0
            # without a member nothing is read
            reads = channel < tl.where(member, channels, 0)
            value = tl.load(source + (image * size + place) * channels + channel, mask=reads,
                            other=float('-inf')).to(ACC)
            top = tl.where((value > top) | (value != value), value, top)  # NaN is a maximum
            found += tl.where(member, 1, 0)
    top = tl.where(found > 0, top, 0)
    at = tl.program_id(0).to(tl.int64) * channels + channel
    tl.store(output + at, top.to(output.dtype.element_ty), mask=channel < channels)


@triton.jit(do_not_specialize=['count', 'regions', 'height', 'width'])
def _backward_kernel(gradient, source, output, images, rows, columns, masks, total, winners, count,
                     regions, height, width, channels, grid_height, grid_width,
                     COLUMN_MAJOR: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    region, image, _, first, last, step, inner_first, inner_last, inner_step = _walk(
        images, rows, columns, count, regions, height, width, grid_height, grid_width, COLUMN_MAJOR)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    size = (image * 0 + height) * width  # in 64 bits
    at = tl.program_id(0).to(tl.int64) * channels + channel
    rest = channel < channels  # elements whose winner is not found yet
    top = tl.load(output + at, mask=rest, other=0).to(ACC)
    if winners is None:
        received = tl.load(gradient + at, mask=rest, other=0).to(ACC)
    for outer in range(first, last):
        for inner in range(inner_first, inner_last):
            place = outer * step + inner * inner_step
            member = place >= 0
            if masks is not None:
                member = tl.load(masks + region * size + place) != 0
            reads = channel < tl.where(member, channels, 0)
            to = (image * size + place) * channels + channel
            # Not where rest only: a mask without gaps lets a thread load neighbours at once.
            value = tl.load(source + to, mask=reads, other=0).to(ACC)
            wins = rest & reads & ((value == top) | ((value != value) & (top != top)))
            if winners is None:
                # Nothing reads the sums before the kernel's end: their order need not be kept.
                tl.atomic_add(total + to, received, mask=wins, sem='relaxed')
            else:
                tl.store(winners + at, to * 0 + image * size + place, mask=wins)
            rest = rest & (wins == 0)


def forward(input: Tensor, images: Tensor, rows: Tensor, columns: Tensor, masks: Optional[Tensor],
            column_major: bool) -> Tensor:
    """Take the maximum of each bin over its positions that lie in the region: (K, D, ph, pw).

    Maps (N, D, h, w); index of each region's image (K,); first row of each bin and the first behind
    it (2, K, ph), the same of the columns (2, K, pw); the positions of each region (K, h, w) bool
    or None for all. With `column_major` the first of equal positions is meant column by column. A
    bin without a position is 0. A GPU asserts that the images exist.
    """
    source = _rows_of(input)
    grid_size = images.size(0), rows.size(2), columns.size(2)
    output = source.new_empty(grid_size[0] * grid_size[1] * grid_size[2], source.size(1))
    if output.numel() > 0:
        wrong = images.new_zeros(1)
        grid, constants = launch(output)
        with torch.cuda.device_of(source):
            _forward_kernel[grid](
                source, *_contiguous(images, rows, columns, masks), output, wrong,
                *_sizes(input, rows, columns), COLUMN_MAJOR=column_major, **constants)
        if source.is_cuda:  # asserted there: to ask for the answer would wait for the GPU
            torch._assert_async(wrong == 0, 'The first number of a roi is the index of its image, '
                                f'0 to {input.size(0) - 1}.')
    return output.view(*grid_size, source.size(1)).permute(0, 3, 1, 2).contiguous()


def backward(gradient: Tensor, input: Tensor, output: Tensor, images: Tensor, rows: Tensor,
             columns: Tensor, masks: Optional[Tensor], column_major: bool) -> Tensor:
    """Hand the gradient (K, D, ph, pw) of each element of the output to its winner: (N, D, h, w).

    Sums are float32 or, for float64, float64; atomic additions or not, as in
    ``gather_max.backward``.
    """
    source, output, gradient = _rows_of(input), _rows_of(output), _rows_of(gradient)
    # one row more, for the winner of a bin without a position
    total = source.new_zeros(source.size(0) + 1, source.size(1),
                             dtype=torch.promote_types(source.dtype, torch.float32))
    if output.numel() > 0:
        winners = None
        if torch.are_deterministic_algorithms_enabled():
            winners = images.new_full(output.shape, source.size(0))
        grid, constants = launch(output)
        with torch.cuda.device_of(source):
            _backward_kernel[grid](
                gradient, source, output, *_contiguous(images, rows, columns, masks), total,
                winners, *_sizes(input, rows, columns), COLUMN_MAJOR=column_major, **constants)
        if winners is not None:
            total.scatter_add_(0, winners, gradient.to(total.dtype))
    count, channels, height, width = input.shape
    rows_of_map = total[:-1].to(source.dtype).view(count, height, width, channels)
    return rows_of_map.permute(0, 3, 1, 2).contiguous()


def _rows_of(map: Tensor) -> Tensor:
    """(N, D, h, w) -> (N * h * w, D), contiguous."""
    count, channels, height, width = map.shape
    return map.permute(0, 2, 3, 1).reshape(count * height * width, channels).contiguous()


def _contiguous(*tensors: Optional[Tensor]) -> Tuple[Optional[Tensor], ...]:
    return tuple(None if tensor is None else tensor.contiguous() for tensor in tensors)


def _sizes(input: Tensor, rows: Tensor, columns: Tensor) -> Tuple[int, ...]:
    """Numbers of images, regions, rows, columns, channels; sides of the grid."""
    count, channels, height, width = input.shape
    return count, rows.size(1), height, width, channels, rows.size(2), columns.size(2)
