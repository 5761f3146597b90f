"""RoI pooling over regions of any shape."""
from typing import Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from . import library
from .checks import check_tensors
from .gather_max import gather_max


def free_form_roi_pool(input: Tensor,
                       rois: Tensor,
                       masks: Optional[Tensor],
                       output_size: Union[int, Sequence[int]],
                       spatial_scale: Union[float, Sequence[float]] = 1.0,
                       mode: str = 'exact',
                       bins: str = 'mmcv',
                       *,
                       implementation: Optional[str] = None) -> Tensor:
    r"""Pool each region to a grid, from the positions of the map in the region.

    .. math:: S^R_{i, d, r} = \max_{j \mid \phi(j) = i,\, \delta_{j, r} = 1} S^C_{j, d}

    Source: Eq. 6 to 8 of `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_. The released code does something else, which
    ``mode='calvin'`` does: it pools the box and multiplies by a mask on the pooled grid.

    Shapes: N images, D channels, K regions, map of h x w positions, grid of ph x pw bins.

    Args:
        input (Tensor): (N, D, h, w).
        rois (Tensor): (K, 5): index of the image and the box x1, y1, x2, y2 in pixels of the image,
            as for ``mmcv.ops.roi_pool``.
        masks (Tensor, optional): Bool, (K, h, w): the positions of the map that lie in the region.
            With ``mode='calvin'``: (K, ph, pw), on the grid of bins. None for the whole boxes,
            which is the RoI pooling of Fast R-CNN.
        output_size (int | Sequence[int]): ph and pw.
        spatial_scale (float | Sequence[float]): Positions per pixel, one number or (y, x).
            Defaults to 1.0.
        mode (str): ``'exact'`` (Eq. 6) or ``'calvin'`` (the released code; the gradient is masked
            too, where the released code lets it through). Defaults to ``'exact'``.
        bins (str): ``'mmcv'``: the box is [x1, x2 + 1) * scale, a bin is from the floor of its
            begin to the ceiling of its end, exclusive. ``'calvin'``: the box is [x1, x2] * scale
            (the scale is then (h - 1) / (H - 1)), a bin includes the position at that ceiling, and
            a bin without a positive value is 0 and has no gradient. Defaults to ``'mmcv'``.
        implementation (str, optional): ``'cpp'``, ``'triton'`` or ``'reference'``; None for the
            fastest, which for whole boxes in float32 on CUDA is mmcv's kernel.

    Returns:
        Tensor: (K, D, ph, pw), contiguous. A bin without a position is 0.

    Raises:
        ValueError: If an argument is unknown or the shapes do not fit.
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        The gradient of an element goes to one position, the first in row-major order (column-major
        with ``bins='calvin'``) that has the maximum.

    Example:
        >>> map = torch.arange(16.).view(1, 1, 4, 4)
        >>> triangle = torch.ones(4, 4).tril().bool()[None]
        >>> free_form_roi_pool(map, torch.tensor([[0., 0, 0, 3, 3]]), triangle, 2)
        tensor([[[[ 5.,  0.],
                  [13., 15.]]]])
    """
    size, scale = _pair(output_size), _pair(spatial_scale)
    _check(input, rois, masks, size, scale, mode, bins)
    if mode == 'calvin' and masks is not None:
        whole = free_form_roi_pool(
            input, rois, None, size, scale, bins=bins, implementation=implementation)
        return whole * masks[:, None]
    if implementation is None and masks is None and _is_for_mmcv(input, rois, scale, bins):
        from mmcv.ops import roi_pool
        return roi_pool(input, rois.float(), size, scale[0])
    height, width = input.shape[2:]
    rows = bin_ranges(rois[:, 2], rois[:, 4], size[0], height, scale[0], bins)
    columns = bin_ranges(rois[:, 1], rois[:, 3], size[1], width, scale[1], bins)
    pooled = OP(input, rois[:, 0].long(), rows, columns, masks, bins == 'calvin',
                implementation=implementation)
    return pooled.relu() if bins == 'calvin' else pooled


def reference(input: Tensor, images: Tensor, rows: Tensor, columns: Tensor,
              masks: Optional[Tensor], column_major: bool) -> Tensor:
    """Plain PyTorch: ``gather_max`` over an index of all bins, (K, D, ph, pw)."""
    _check_images(images, len(input))
    count, channels, height, width = input.shape
    index = reference_bin_index(images, rows, columns, masks, height, width, column_major)
    source = input.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    bins = gather_max(source, *index, implementation='reference')
    bins = bins.view(*rows.shape[1:], columns.size(2), channels)
    return bins.permute(0, 3, 1, 2).contiguous()


def _is_for_mmcv(input: Tensor, rois: Tensor, scale: Tuple[float, float], bins: str) -> bool:
    """Whether mmcv's kernel is asked for whole boxes: it is faster, and does less."""
    # In half precision it rounds the boxes. Its gradient is a sum in an order that is a matter of
    # chance.
    fits = bins == 'mmcv' and scale[0] == scale[1] and input.dtype == torch.float32 and len(rois)
    if not input.is_cuda or not fits or torch.are_deterministic_algorithms_enabled():
        return False
    try:
        from mmcv.ops import get_compiling_cuda_version
    except ImportError as error:
        reason = f'mmcv.ops cannot be imported ({str(error).splitlines()[0]})'
    else:
        if get_compiling_cuda_version() != 'not available':
            return True
        reason = 'mmcv was compiled without its kernels for CUDA'
    library.warn_once("mmseg_ext pools whole boxes with its own kernels, not with mmcv's, because "
                      f'{reason}.')
    return False


def bin_ranges(first: Tensor, last: Tensor, number: int, length: int, scale: float,
               bins: str) -> Tensor:
    """Divide one side of K boxes, from a first to a last pixel (K,), into `number` bins.

    The map has `length` positions along this side. Returns the first position of each bin and the
    first position behind it, (2, K, P) int64.
    """
    # in float32, in the order of mmcv's kernel, so that roundings agree
    begin = first.float()[:, None] * scale
    end = last.float()[:, None] * scale if bins == 'calvin' else (last.float()[:, None] + 1) * scale
    # by a tensor: a GPU multiplies by the reciprocal of a number, which rounds differently
    step = (end - begin) / begin.new_full((), number)
    i = torch.arange(number, dtype=torch.float32, device=first.device)
    low = (i * step + begin).floor().nan_to_num().clamp(0, length).long()
    high = ((i + 1) * step + begin).ceil().nan_to_num()
    if bins == 'calvin':
        high = torch.where(end >= begin, high + 1, low)
    else:
        high = torch.where(end > begin, high, low)
    return torch.stack([low, high.clamp(0, length).long().maximum(low)])


def reference_bin_index(images: Tensor, rows: Tensor, columns: Tensor, masks: Optional[Tensor],
                        height: int, width: int, column_major: bool) -> Tuple[Tensor, Tensor]:
    """List the positions of every bin that lie in its region, as an index for ``gather_max``.

    Bins may overlap (a position is then listed for each) and be empty. The memory is in proportion
    to the positions of all bins. The position (y, x) of image n is n * h * w + y * w + x; with
    `column_major` those of a bin are listed column by column.
    """
    y, x = rows[0, :, :, None], columns[0, :, None, :]  # (K, ph, 1) and (K, 1, pw)
    length_y, length_x = rows[1, :, :, None] - y, columns[1, :, None, :] - x
    sizes = (length_y * length_x).flatten()
    shape = (len(images), rows.size(2), columns.size(2))
    bin = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
    entry = torch.arange(len(bin), device=sizes.device) - (sizes.cumsum(0) - sizes)[bin]
    if column_major:
        inner = length_y.expand(shape).flatten()[bin]
        dx, dy = entry // inner, entry % inner
    else:
        inner = length_x.expand(shape).flatten()[bin]
        dy, dx = entry // inner, entry % inner
    y, x = y.expand(shape).flatten()[bin] + dy, x.expand(shape).flatten()[bin] + dx
    region = bin // (shape[1] * shape[2])
    indices = (images[region] * height + y) * width + x
    if masks is not None:
        inside = masks[region, y, x]
        indices = indices[inside]
        sizes = torch.zeros_like(sizes).index_add_(0, bin, inside.to(sizes.dtype))
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]), indices


def _index(input: Tensor, images: Tensor, rows: Tensor, columns: Tensor, masks: Optional[Tensor],
           column_major: bool) -> Tuple[Tensor, Tensor]:
    check_tensors(input=input, images=images, rows=rows, columns=columns)
    _check_images(images, len(input))
    if masks is not None:
        masks = masks.contiguous()
    return torch.ops.mmseg_ext.bin_index(
        images.contiguous(), rows, columns, masks, *input.shape[2:], column_major)


def _pool(input: Tensor, images: Tensor, rows: Tensor, columns: Tensor, masks: Optional[Tensor],
          column_major: bool) -> Tensor:
    index = _index(input, images, rows, columns, masks, column_major)
    grid = rows.size(2), columns.size(2)
    pooled = torch.ops.mmseg_ext.gather_max_bins(input.contiguous(), *index, grid[0] * grid[1])
    return pooled.view(*pooled.shape[:2], *grid)


def _pool_backward(gradient: Tensor, input: Tensor, output: Tensor, *places) -> Tensor:
    check_tensors(gradient=gradient)
    index = _index(input, *places)
    return torch.ops.mmseg_ext.gather_max_bins_backward(
        gradient.flatten(2).contiguous(), input.contiguous(), *index)


def _pair(value: Union[float, Sequence[float]]) -> tuple:
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def _check_images(images: Tensor, count: int) -> None:
    """On a CPU; the answer would have to be waited for on a GPU."""
    if images.device.type == 'cpu' and len(images) \
            and not 0 <= images.min() <= images.max() < count:
        raise ValueError(f'The first number of a roi is the index of its image, 0 to {count - 1}, '
                         f'got {images.min()} to {images.max()}.')


def _check(input: Tensor, rois: Tensor, masks: Optional[Tensor], size: tuple, scale: tuple,
           mode: str, bins: str) -> None:
    if mode not in ('exact', 'calvin') or bins not in ('mmcv', 'calvin'):
        raise ValueError("mode must be 'exact' or 'calvin' and bins 'mmcv' or 'calvin', got "
                         f'{mode!r} and {bins!r}.')
    if len(size) != 2 or min(size) < 1 or len(scale) != 2 or min(scale) <= 0:
        raise ValueError('output_size must be one or two positive numbers and spatial_scale one or '
                         f'two, got {size} and {scale}.')
    for name, numbers, most in (('output_size', size, 1 << 24), ('spatial_scale', scale, 1e9)):
        if not max(numbers) <= most:
            raise ValueError(f'{name} must be at most {most:g}, got {numbers}.')
    check_tensors(input=input, rois=rois)
    if not input.is_floating_point():
        raise ValueError(f'input must be a floating-point tensor, got {input.dtype}.')
    if input.ndim != 4 or rois.ndim != 2 or rois.size(1) != 5:
        raise ValueError('input must be (N, D, h, w) and rois (K, 5): index of the image, x1, y1, '
                         f'x2, y2; got {tuple(input.shape)} and {tuple(rois.shape)}.')
    if masks is not None:
        check_tensors(masks=masks)
        grid = tuple(input.shape[2:]) if mode == 'exact' else size
        if tuple(masks.shape) != (len(rois), *grid) or masks.dtype != torch.bool:
            raise ValueError(f"masks must be bool {(len(rois), *grid)} with mode='{mode}', got "
                             f'{masks.dtype} {tuple(masks.shape)}.')


library.LIBRARY.define(
    'bin_index(Tensor images, Tensor rows, Tensor columns, Tensor? masks, int height, int width, '
    'bool column_major) -> (Tensor, Tensor)')
# gather_max from maps (N, D, h, w) to bins (K, D, bins), on the CPU
library.LIBRARY.define(
    'gather_max_bins(Tensor input, Tensor indptr, Tensor indices, int bins) -> Tensor')
library.LIBRARY.define(
    'gather_max_bins_backward(Tensor gradient, Tensor input, Tensor indptr, Tensor indices) -> '
    'Tensor')
_PLACES = 'Tensor images, Tensor rows, Tensor columns, Tensor? masks, bool column_major'
# One op that includes the making of its index, whose size only the data tell: compilers see an
# output of known shape.
OP = library.Op(
    f'free_form_roi_pool(Tensor input, {_PLACES}) -> Tensor',
    lambda input, images, rows, columns, *args: input.new_empty(
        rows.size(1), input.size(1), rows.size(2), columns.size(2)),
    reference,
    cpu=_pool,
    triton='free_form_roi_pool.forward',
    backward=library.Op(
        f'free_form_roi_pool_backward(Tensor gradient, Tensor input, Tensor output, {_PLACES}) '
        '-> Tensor',
        lambda gradient, input, *args: input.new_empty(input.shape),
        cpu=_pool_backward,
        triton='free_form_roi_pool.backward'))
