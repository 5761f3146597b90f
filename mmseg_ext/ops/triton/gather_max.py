"""mmseg_ext::gather_max and its backward in Triton.

Forward: a program takes a row of the output and a block of columns, and walks the row's group.
Backward: it walks the group again and finds the winner of each element as the first that equals the
maximum, which reads less memory than a stored winner, and writes none.

Shapes: N rows and D columns of the source, M rows of the output, nnz entries of the index.
"""
from typing import Any, Dict, Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..checks import check_index

# Most columns of a program; 128 to a warp, so that a thread has 4, 16 bytes of a float32 row.
MAX_BLOCK = 512


@triton.jit
def _locate(columns, BLOCK: tl.constexpr):
    """Row and columns of this program, and which of these exist."""
    # 64 bits: times the columns this becomes an offset, which may be 2^31 and more
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    return row, column, column < columns


# The numbers of entries and rows change from call to call: no variant is compiled for those that
# are multiples of 16.
@triton.jit(do_not_specialize=['entries', 'size'])
def _forward_kernel(source, indptr, indices, output, wrong, entries, size, columns,
                    ACC: tl.constexpr, BLOCK: tl.constexpr):
    row, column, inside = _locate(columns, BLOCK)
    first = tl.load(indptr + row)
    last = tl.load(indptr + row + 1)
    rises = (first <= last) & ((row != 0) | (first == 0))
    rises = rises & ((row + 1 != tl.num_programs(0)) | (last == entries))
    if rises == 0:
        tl.store(wrong, 1)
    top = tl.full([BLOCK], float('-inf'), ACC)
    # A wrong index is marked and not followed, so that it cannot lead out of the source.
    for k in range(tl.maximum(first, 0), tl.minimum(last, entries)):
        index = tl.load(indices + k)
        is_row = (index >= 0) & (index < size)
        if is_row == 0:
            tl.store(wrong, 1)
        legal = column < tl.where(is_row, columns, 0)
        value = tl.load(source + index * columns + column, mask=legal, other=0).to(ACC)
        top = tl.where((value > top) | (value != value), value, top)  # NaN is a maximum
    top = tl.where(first < last, top, 0)
    tl.store(output + row * columns + column, top.to(output.dtype.element_ty), mask=inside)


@triton.jit
def _backward_kernel(gradient, source, output, indptr, indices, total, winners, columns,
                     ACC: tl.constexpr, BLOCK: tl.constexpr):
    row, column, inside = _locate(columns, BLOCK)
    at = row * columns + column
    top = tl.load(output + at, mask=inside, other=0).to(ACC)
    rest = inside  # elements whose winner is not found yet
    if winners is None:
        received = tl.load(gradient + at, mask=inside, other=0).to(ACC)
    for k in range(tl.load(indptr + row), tl.load(indptr + row + 1)):
        index = tl.load(indices + k)
        to = index * columns + column
        # Not where rest only: a mask without gaps lets a thread load neighbours at once.
        value = tl.load(source + to, mask=inside, other=0).to(ACC)
        wins = rest & ((value == top) | ((value != value) & (top != top)))
        if winners is None:
            # The sums are read after the kernel only: the additions need no order.
            tl.atomic_add(total + to, received, mask=wins, sem='relaxed')
        else:
            tl.store(winners + at, tl.full([BLOCK], 0, tl.int64) + index, mask=wins)
        rest = rest & (wins == 0)


def forward(source: Tensor, indptr: Tensor, indices: Tensor) -> Tensor:
    """Take the maximum of each group, (N, D), (M + 1,), (nnz,) -> (M, D).

    Arguments as in ``mmseg_ext.ops.gather_max``, contiguous; indptr and indices are int64. Exact
    for every type. On a CPU a ValueError refuses a wrong index; a GPU asserts.
    """
    output = source.new_empty(indptr.size(0) - 1, source.size(1))
    if output.numel() == 0:
        return output
    wrong = indptr.new_zeros(1)
    grid, constants = launch(output)
    with torch.cuda.device_of(source):
        _forward_kernel[grid](source, indptr, indices, output, wrong, indices.size(0),
                              *source.shape, **constants)
    if source.is_cuda:  # asserted there: to ask for the answer would wait for the GPU
        torch._assert_async(wrong == 0, 'indptr must rise from 0 to the number of indices, and '
                            f'indices be rows of the source, 0 to {source.size(0) - 1}.')
    elif wrong.any():
        check_index(indptr, indices, source.size(0))
    return output


def backward(gradient: Tensor, source: Tensor, output: Tensor, indptr: Tensor,
             indices: Tensor) -> Tensor:
    """Hand the gradient (M, D) of each element of the output to its winner: (N, D).

    Sums are float32 or, for float64, float64. They are atomic additions, so their order and last
    bits are a matter of chance. After ``torch.use_deterministic_algorithms(True)`` the winners are
    written down and PyTorch adds up, which takes several times as long and 8 more bytes for each
    element of the output.
    """
    # one row more, for the winner of an empty group
    total = source.new_zeros(source.size(0) + 1, source.size(1),
                             dtype=torch.promote_types(source.dtype, torch.float32))
    if output.numel() > 0:
        gradient, winners = gradient.contiguous(), None
        if torch.are_deterministic_algorithms_enabled():
            winners = indptr.new_full(output.shape, source.size(0))
        grid, constants = launch(output)
        with torch.cuda.device_of(source):
            _backward_kernel[grid](gradient, source, output, indptr, indices, total, winners,
                                   source.size(1), **constants)
        if winners is not None:
            total.scatter_add_(0, winners, gradient.to(total.dtype))
    return total[:-1].to(source.dtype)


def launch(output: Tensor) -> Tuple[Tuple[int, int], Dict[str, Any]]:
    """Give grid and constants of kernels with an output (rows, columns) that is not empty."""
    rows, columns = output.shape
    block = min(MAX_BLOCK, triton.next_power_of_2(columns))
    return (rows, triton.cdiv(columns, block)), dict(
        ACC=tl.float64 if output.dtype == torch.float64 else tl.float32, BLOCK=block,
        num_warps=max(1, block // 128))
