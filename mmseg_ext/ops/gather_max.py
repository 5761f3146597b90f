"""Maximum over groups of rows: the kernel under free-form pooling and region-to-pixel."""
from typing import Optional

import torch
from torch import Tensor

from . import library
from .checks import check_index, check_index_form, check_tensors

#: Entries times columns that the reference works on at once, at about 30 bytes each.
REFERENCE_BLOCK = 2**22


def gather_max(source: Tensor,
               indptr: Tensor,
               indices: Tensor,
               *,
               implementation: Optional[str] = None) -> Tensor:
    r"""Take the maximum over groups of rows, element by element.

    .. math:: o_{m, d} = \max_{k = p_m}^{p_{m + 1} - 1} s_{i_k, d}

    The groups are a compressed sparse row index: group m is
    ``indices[indptr[m]:indptr[m + 1]]``. Groups may overlap; free-form pooling (a group is the
    feature cells of a bin, Eq. 6 of `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_) and the region-to-pixel layer (a group is the regions that
    contain a pixel, Eq. 3) are both this.

    Args:
        source (Tensor): s, (N, D); float32, float64, float16 or bfloat16.
        indptr (Tensor): p, (M + 1,) int64, rising from 0 to nnz.
        indices (Tensor): i, (nnz,) int64, rows of the source.
        implementation (str, optional): ``'cpp'`` (CPU), ``'triton'`` (CUDA) or ``'reference'``;
            None for the fastest that the device has.

    Returns:
        Tensor: o, (M, D). A row without a group member is 0.

    Raises:
        ValueError: If the shapes or types do not fit or, on a CPU, the index is not one of the
            source's rows (a GPU asserts).
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        The gradient of an element goes to one winner, the first in the order of the group that has
        the maximum. NaN is a maximum. On CUDA the gradients of a source element are added up in an
        order that is a matter of chance, unless ``torch.use_deterministic_algorithms`` is set.

    Example:
        >>> source = torch.tensor([[1., 5.], [2., 4.], [3., 6.]])
        >>> gather_max(source, torch.tensor([0, 2, 2, 3]), torch.tensor([0, 1, 2]))
        tensor([[2., 5.],
                [0., 0.],
                [3., 6.]])
    """
    check_tensors(source=source)
    if source.ndim != 2 or not source.is_floating_point():
        raise ValueError('source must be a floating-point tensor (N, D), got '
                         f'{source.dtype} {tuple(source.shape)}.')
    check_index_form(indptr, indices)
    return OP(source.contiguous(), indptr.long().contiguous(), indices.long().contiguous(),
              implementation=implementation)


def reference(source: Tensor, indptr: Tensor, indices: Tensor) -> Tensor:
    """Plain PyTorch, with its autograd: what the kernels are compared with."""
    check_index(indptr, indices, source.size(0))
    if len(indices) == 0:
        return source.new_zeros(len(indptr) - 1, source.size(1)) + source[:0].sum()
    sizes = indptr.diff()
    row = torch.repeat_interleave(torch.arange(len(sizes), device=source.device), sizes)
    # in blocks of columns: whole rows of all entries may be a hundred times the source
    width = max(1, REFERENCE_BLOCK // len(indices))
    first = torch.cat([_first_winners(block, row, len(sizes), indices)
                       for block in source.detach().split(width, dim=1)], dim=1)
    winner = indices[first.clamp(max=len(indices) - 1)]
    return source.gather(0, winner).where(first < len(indices), source.new_zeros(()))


def _first_winners(source: Tensor, row: Tensor, rows: int, indices: Tensor) -> Tensor:
    """First entry of each row and column that has the maximum; nnz where a row has no entry."""
    row = row[:, None].expand(-1, source.size(1))
    values = source[indices]
    top = values.new_zeros(rows, source.size(1)).scatter_reduce(
        0, row, values, 'amax', include_self=False)
    wins = (values == top.gather(0, row)) | values.isnan()
    number = torch.arange(len(indices), device=source.device)[:, None].expand_as(wins)
    behind = number.new_full(top.shape, len(indices))
    return behind.scatter_reduce(0, row, torch.where(wins, number, len(indices)), 'amin')


OP = library.Op(
    'gather_max(Tensor source, Tensor indptr, Tensor indices) -> Tensor',
    lambda source, indptr, indices: source.new_empty(indptr.size(0) - 1, source.size(1)),
    reference,
    triton='gather_max.forward',
    backward=library.Op(
        'gather_max_backward(Tensor gradient, Tensor source, Tensor output, Tensor indptr, '
        'Tensor indices) -> Tensor',
        lambda gradient, source, *args: source.new_empty(source.shape),
        triton='gather_max.backward'))
