"""Cross entropy of the hard pixels of enlarged logits, which are never there as a whole."""
from typing import List, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor

from . import library
from .bootstrapped_cross_entropy import check_options, class_weights, cross_entropy, normalizers
from .bootstrapped_cross_entropy import reference as full_size_reference
from .checks import check_enlargement, check_ignore_index
from .enlargement import Axis, enlarge, enlargement
from .hard_pixel_mask import check_min_kept
from .library import accumulation_dtype, empty_gradient


class PixelSums(NamedTuple):
    """What a pass over the pixels gives.

    Attributes:
        total (Tensor): (N,), for each image the weighted sum of the kept pixels' losses.
        kept (Tensor): (N, H, W) bool.
        num_kept (Tensor): (N,) int64.
        num_valid (Tensor): (N,) int64.
        num_correct (Tensor): (N,) int64, the valid pixels whose label has the largest logit.
        losses (Tensor): (N, H, W) of each valid pixel; others may be any number.
    """
    total: Tensor
    kept: Tensor
    num_kept: Tensor
    num_valid: Tensor
    num_correct: Tensor
    losses: Tensor


def upsampled_cross_entropy(logits: Tensor,
                            labels: Tensor,
                            *,
                            align_corners: bool = False,
                            thresh: Optional[float] = None,
                            min_kept: Optional[int] = None,
                            per_image: bool = False,
                            class_weight: Optional[Union[Tensor, List[float]]] = None,
                            ignore_index: int = 255,
                            normalization: str = 'kept',
                            implementation: Optional[str] = None) -> Tensor:
    """``bootstrapped_cross_entropy`` of logits that are enlarged to the size of the labels.

    The value and the gradient of ``bootstrapped_cross_entropy(F.interpolate(logits,
    labels.shape[1:], mode='bilinear', align_corners=align_corners), labels, ...)``, without the
    enlarged logits: they are made tile by tile, used and forgotten. The gradient makes them once
    more, from the loss of each pixel, which is kept. There is nothing of the size (N, C, H, W).

    Args:
        logits (Tensor): (N, C, h, w); float32, float64, float16 or bfloat16.
        labels (Tensor): (N, H, W), classes 0 to C - 1 or ``ignore_index``. H and W may be any
            multiple of h and w, whole or not, above or below 1.
        align_corners (bool): As in ``F.interpolate``. Defaults to False.
        thresh (float, optional): As in :func:`bootstrapped_cross_entropy`, as all that follow.
        min_kept (int, optional): Counts pixels of the labels.
        per_image (bool): Defaults to False.
        class_weight (Tensor | list[float], optional): (C,).
        ignore_index (int): Defaults to 255.
        normalization (str): Defaults to ``'kept'``.
        implementation (str, optional): ``'cpp'``, ``'triton'`` or ``'reference'``; None for the
            fastest that is there.

    Returns:
        Tensor: A scalar; float32 for half precision, in which sums are not accumulated.

    Raises:
        ValueError: If an argument is out of its range, the shapes do not match, or, on a CPU, a
            label is neither a class nor ``ignore_index`` (a GPU asserts).
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        Enlarged logits are float32 here for half precision too, in which ``F.interpolate`` rounds
        them. Equal inputs give equal bits for any number of threads.

    Example:
        >>> logits = torch.randn(2, 19, 64, 128, requires_grad=True)
        >>> labels = torch.randint(0, 19, (2, 512, 1024))
        >>> upsampled_cross_entropy(logits, labels, thresh=0.6, min_kept=50000).backward()
    """
    check_options(thresh, min_kept, normalization)
    sums = upsampled_cross_entropy_sums(
        logits, labels, align_corners=align_corners, thresh=thresh, min_kept=min_kept,
        per_image=per_image, class_weight=class_weight, ignore_index=ignore_index,
        implementation=implementation)
    scale = normalizers(labels, sums.num_kept, sums.num_valid, per_image, normalization)
    return (sums.total * scale.to(sums.total.dtype)).sum()


def upsampled_cross_entropy_sums(logits: Tensor,
                                 labels: Tensor,
                                 *,
                                 align_corners: bool = False,
                                 thresh: Optional[float] = None,
                                 min_kept: Optional[int] = None,
                                 per_image: bool = False,
                                 class_weight: Optional[Union[Tensor, List[float]]] = None,
                                 ignore_index: int = 255,
                                 implementation: Optional[str] = None) -> PixelSums:
    """Sum the losses of :func:`upsampled_cross_entropy` (same arguments), and divide by nothing.

    Returns:
        PixelSums: The sums, and what was counted.
    """
    check_options(thresh, min_kept, 'kept')
    check_enlargement(logits, labels)
    rows, columns = enlargement(logits, labels.shape[1:], align_corners)
    return PixelSums(*OP(
        logits, labels.long(), *rows, *columns, class_weights(logits, class_weight), thresh,
        check_min_kept(min_kept), per_image, check_ignore_index(ignore_index),
        implementation=implementation))


def reference(logits: Tensor, labels: Tensor, first_row: Tensor, row_weight: Tensor,
              first_column: Tensor, column_weight: Tensor, class_weight: Optional[Tensor],
              *options) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Enlarge, then the reference of ``bootstrapped_cross_entropy``.

    Returns:
        tuple[Tensor]: The results of that reference; for each image the number of valid pixels
        whose label has the largest logit, (N,) int64; the losses of the pixels, (N, H, W).
    """
    logits = enlarge(logits.to(accumulation_dtype(logits)), Axis(first_row, row_weight),
                     Axis(first_column, column_weight))
    is_correct = (logits.argmax(dim=1) == labels) & (labels != options[-1])
    with torch.no_grad():
        losses = cross_entropy(logits, labels, None, options[-1], 'none')
    return (*full_size_reference(logits, labels, class_weight, *options),
            is_correct.flatten(1).sum(dim=1), losses)


def _fake(logits, labels, *args):
    sums = logits.new_empty(logits.size(0), dtype=accumulation_dtype(logits))
    counts = labels.new_empty(logits.size(0))
    return (sums, labels.new_empty(labels.shape, dtype=torch.bool), counts,
            torch.empty_like(counts), torch.empty_like(counts), sums.new_empty(labels.shape))


OP = library.Op(
    'upsampled_cross_entropy(Tensor logits, Tensor labels, Tensor first_row, Tensor row_weight, '
    'Tensor first_column, Tensor column_weight, Tensor? class_weight, float? thresh, '
    'int? min_kept, bool per_image, int ignore_index) -> (Tensor, Tensor, Tensor, Tensor, Tensor, '
    'Tensor)',
    _fake,
    reference,
    triton='upsampled.forward',
    backward=library.Op(
        'upsampled_cross_entropy_backward(Tensor gradient, Tensor logits, Tensor labels, '
        'Tensor first_row, Tensor row_weight, Tensor first_column, Tensor column_weight, '
        'Tensor? class_weight, Tensor kept, Tensor losses) -> Tensor',
        lambda gradient, logits, *args: empty_gradient(logits),
        triton='upsampled.backward'),
    save=lambda args, results: (*args[:7], results[1], results[5]))
