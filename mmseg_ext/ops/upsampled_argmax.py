"""The label map of enlarged logits, which are never there as a whole."""
from typing import Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from . import library
from .checks import check_size, check_tensors, check_whole
from .enlargement import Axis, bilinear_axis, enlarge
from .library import accumulation_dtype

#: A step on the way from the small logits to the label map.
Step = Union[str, Sequence[int]]


def upsampled_argmax(logits: Tensor,
                     size: Sequence[int],
                     *,
                     align_corners: bool = False,
                     through: Optional[Sequence[Step]] = None,
                     implementation: Optional[str] = None) -> Tensor:
    """Label every pixel by its largest logit, after a bilinear enlargement.

    The result of ``F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)
    .argmax(dim=1)``, without the enlarged logits: they are made tile by tile.

    At test mmseg enlarges logits to the size of the padded input, cuts the padding off, turns a
    flipped image back, and enlarges once more to the size of the original image. Each step is
    linear, and so are all together: ``through=[(H, W), (top, bottom, left, right),
    'horizontal']`` in front of the last size is one enlargement here.

    Args:
        logits (Tensor): (N, C, h, w); float32, float64, float16 or bfloat16.
        size (Sequence[int]): Height and width of the label map.
        align_corners (bool): As in ``F.interpolate``, for every step. Defaults to False.
        through (Sequence, optional): Steps in front of the enlargement to ``size``: a height and a
            width, to which the map is enlarged; four numbers (top, bottom, left, right), rows and
            columns that are cut off at its sides; ``'horizontal'`` or ``'vertical'``, a flip.
            Defaults to None: no step.
        implementation (str, optional): ``'cpp'``, ``'triton'`` or ``'reference'``; None for the
            fastest that is there.

    Returns:
        Tensor: (N, H, W); uint8 up to 256 classes, int16 up to 32,768, else int32.

    Raises:
        ValueError: If an argument is out of its range, or nothing is left by a cut.
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        Of equal logits the first counts; NaN is more than any number: as ``argmax`` of PyTorch on a
        CPU. Enlarged logits are float32 for half precision. Rounding may decide where two
        classes are equal but for it.

    Example:
        >>> logits = torch.randn(1, 19, 128, 256)
        >>> labels = upsampled_argmax(logits, (1000, 2000), through=[(1024, 2048), (0, 24, 0, 48)])
    """
    check_tensors(logits=logits)
    if logits.ndim != 4 or not logits.is_floating_point() or 0 in logits.shape[1:]:
        raise ValueError('logits must be a floating-point tensor (N, C, h, w) with a class and a '
                         f'position, got {tuple(logits.shape)} of {logits.dtype}.')
    check_size('size', size)
    rows, columns = joined_steps(logits.shape[2:], [*(through or ()), tuple(size)], align_corners)
    to = accumulation_dtype(logits), logits.device
    return OP(logits, *rows.tensors(*to), *columns.tensors(*to), implementation=implementation)


def joined_steps(small: Sequence[int], steps: Sequence[Step],
                 align_corners: bool) -> Tuple[Axis, Axis]:
    """Join the steps of :func:`upsampled_argmax` into one enlargement: its rows and columns."""
    axes = [None, None]

    def length(side: int) -> int:
        return small[side] if axes[side] is None else axes[side].size

    def enlarged(side: int, large: int) -> Axis:
        axis = bilinear_axis(length(side), large, align_corners)
        return axis if axes[side] is None else axes[side].then(axis)

    for step in steps:
        if isinstance(step, str):
            if step not in ('horizontal', 'vertical'):
                raise ValueError("a flip must be 'horizontal' or 'vertical', got "
                                 f'{step!r}.')
            side = int(step == 'horizontal')
            axes[side] = enlarged(side, length(side)).flip()
        elif len(step) == 4:
            for name, number in zip(('top', 'bottom', 'left', 'right'), step):
                check_whole(name, number, 0)
            for side in (0, 1):
                begin, end = step[2 * side], length(side) - step[2 * side + 1]
                if begin >= end:
                    raise ValueError(f'a cut of {tuple(step)} (top, bottom, left, right) leaves '
                                     f'nothing of a map of {length(0)} x {length(1)}.')
                axes[side] = enlarged(side, length(side)).crop(begin, end)
        else:
            check_size('a size in through', step)
            axes = [enlarged(side, step[side]) for side in (0, 1)]
    return axes[0], axes[1]


def reference(logits: Tensor, first_row: Tensor, row_weight: Tensor, first_column: Tensor,
              column_weight: Tensor) -> Tensor:
    """Enlarge the logits as a whole, in plain PyTorch."""
    maps = enlarge(logits.to(accumulation_dtype(logits)), Axis(first_row, row_weight),
                   Axis(first_column, column_weight))
    return maps.argmax(dim=1).to(label_dtype(logits.size(1)))


def label_dtype(classes: int) -> torch.dtype:
    """The smallest type that holds a label."""
    return torch.uint8 if classes <= 256 else torch.int16 if classes <= 1 << 15 else torch.int32


OP = library.Op(
    'upsampled_argmax(Tensor logits, Tensor first_row, Tensor row_weight, Tensor first_column, '
    'Tensor column_weight) -> Tensor',
    lambda logits, first_row, row_weight, first_column, column_weight: logits.new_empty(
        (logits.size(0), first_row.size(0), first_column.size(0)),
        dtype=label_dtype(logits.size(1))),
    reference,
    triton='upsampled.argmax')
