"""Cross entropy of the hard pixels only (Eq. 1 of the bootstrapping paper)."""
from typing import List, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ext.compat import is_compiling

from . import library
from .checks import (
    check_class_weight,
    check_ignore_index,
    check_labels,
    check_logits_and_labels,
)
from .hard_pixel_mask import check_min_kept, keep_hard
from .library import accumulation_dtype, empty_gradient

NORMALIZATIONS = ('kept', 'valid', 'numel')


class HardPixels(NamedTuple):
    """A selection: ``kept`` (N, H, W) bool, ``scale`` (N,), 1 / Z of each image (0 where Z is)."""
    kept: Tensor
    scale: Tensor


def bootstrapped_cross_entropy(logits: Tensor,
                               labels: Tensor,
                               *,
                               thresh: Optional[float] = None,
                               min_kept: Optional[int] = None,
                               per_image: bool = False,
                               class_weight: Optional[Union[Tensor, List[float]]] = None,
                               ignore_index: int = 255,
                               normalization: str = 'kept',
                               implementation: Optional[str] = None) -> Tensor:
    r"""Cross entropy over the pixels that are hard for the current model.

    .. math:: L = \frac{1}{Z} \sum_{i\,kept} w_{y_i} \cdot (-\log p_{i, y_i})

    A pixel is kept if the probability of its label is below ``thresh``; where these are fewer than
    ``min_kept``, the ``min_kept`` pixels with the highest loss are kept instead. Source: Eq. 1 and
    the rule below it in `Bridging Category-level and Instance-level Semantic Image Segmentation
    <https://arxiv.org/abs/1605.06885>`_. The paper leaves open how ties are broken and has no class
    weights.

    Args:
        logits (Tensor): (N, C, H, W); float32, float64, float16 or bfloat16, contiguous or
            channels last (others are copied).
        labels (Tensor): (N, H, W), classes 0 to C - 1 or ``ignore_index``.
        thresh (float, optional): Threshold t in (0, 1]. Defaults to None: no pixel is kept for it.
        min_kept (int, optional): Least number of kept pixels. Defaults to None. With neither of
            the two all valid pixels are kept: the plain mean.
        per_image (bool): Whether to select and to average in each image, and to take the mean of
            the N values; an image in which nothing counts has the value 0. Defaults to False: the
            batch is one set of pixels.
        class_weight (Tensor | list[float], optional): w, (C,). It has no part in the selection or
            in Z. Defaults to None: all 1.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        normalization (str): Z: ``'kept'`` is the number of kept pixels (Eq. 1), ``'valid'`` of all
            valid ones, ``'numel'`` of all pixels (as mmseg's cross entropy). Defaults to
            ``'kept'``.
        implementation (str, optional): ``'cpp'``, ``'triton'`` or ``'reference'``; None for the
            fastest that is there.

    Returns:
        Tensor: A scalar; float32 for half precision, in which sums are not accumulated.

    Raises:
        ValueError: If an argument is out of its range, the shapes do not match, or, on a CPU, a
            label is neither a class nor ``ignore_index`` (a GPU asserts).
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        Exactly ``min_kept`` pixels are kept under ties, the first in memory order; all valid ones
        where these are fewer. A pixel whose logits are NaN is a hard one. A batch in which nothing
        counts gives 0 with a gradient graph.

    Example:
        >>> logits = torch.randn(2, 19, 64, 128, requires_grad=True)
        >>> labels = torch.randint(0, 19, (2, 64, 128))
        >>> bootstrapped_cross_entropy(logits, labels, thresh=0.6, min_kept=512).backward()
    """
    check_options(thresh, min_kept, normalization)
    check_logits_and_labels(logits, labels)
    class_weight = class_weights(logits, class_weight)
    sums, kept, num_kept, num_valid = OP(
        logits, labels.long(), class_weight, thresh, check_min_kept(min_kept), per_image,
        check_ignore_index(ignore_index), implementation=implementation)
    scale = normalizers(labels, num_kept, num_valid, per_image, normalization)
    return (sums * scale.to(sums.dtype)).sum()


def select_hard_pixels(logits: Tensor,
                       labels: Tensor,
                       *,
                       thresh: Optional[float] = None,
                       min_kept: Optional[int] = None,
                       per_image: bool = False,
                       ignore_index: int = 255,
                       normalization: str = 'kept',
                       implementation: Optional[str] = None) -> HardPixels:
    """Select the pixels of ``bootstrapped_cross_entropy`` (same arguments) without a loss.

    Returns:
        HardPixels: ``kept`` (N, H, W) bool, and ``scale`` (N,) float64 (float32 on MPS), by
        which a loss of image n that is summed over its kept pixels has to be multiplied.
    """
    check_options(thresh, min_kept, normalization)
    check_logits_and_labels(logits, labels)
    with torch.no_grad():
        _, kept, num_kept, num_valid = OP(
            logits, labels.long(), None, thresh, check_min_kept(min_kept), per_image,
            check_ignore_index(ignore_index), implementation=implementation)
        return HardPixels(kept, normalizers(labels, num_kept, num_valid, per_image, normalization))


def check_options(thresh: Optional[float], min_kept: Optional[int], normalization: str) -> None:
    """Refuse options of ``bootstrapped_cross_entropy`` that make no sense.

    Raises:
        ValueError: If so.
    """
    if thresh is not None and not 0 < thresh <= 1:
        raise ValueError('thresh is the probability from which on a pixel is easy, in (0, 1], or '
                         f'None; got {thresh}.')
    check_min_kept(min_kept)
    if normalization not in NORMALIZATIONS:
        raise ValueError(f'normalization must be one of {NORMALIZATIONS}, got {normalization!r}.')


def class_weights(logits: Tensor,
                  class_weight: Optional[Union[Tensor, List[float]]]) -> Optional[Tensor]:
    """Bring class weights to the device of the logits and to the type of the sums.

    Raises:
        ValueError: If there are not as many as classes.
    """
    if class_weight is None:
        return None
    class_weight = _brought_to(
        logits.device, torch.as_tensor(class_weight, dtype=accumulation_dtype(logits)))
    check_class_weight(class_weight, logits.size(1))
    return class_weight


def _brought_to(device: torch.device, tensor: Tensor) -> Tensor:
    """The tensor on a device, contiguous. The copy to a GPU is not waited for."""
    if device.type == 'cuda' and tensor.device.type == 'cpu' and not is_compiling():
        tensor = tensor.pin_memory()  # from other memory the copy would be waited for
    return tensor.to(device, non_blocking=True).contiguous()


def normalizers(labels: Tensor, num_kept: Tensor, num_valid: Tensor, per_image: bool,
                normalization: str) -> Tensor:
    """1 / Z of each image, (N,) float64, given its kept and valid pixels; 0 where Z is 0.

    The pixels are counted in integers up to the division: float32 would lose some beyond 2^24. On
    MPS, which has no float64, 1 / Z is float32, and is rounded no more than the loss is.
    """
    if normalization == 'numel':
        count = torch.full_like(num_kept, labels[0].numel() if labels.size(0) else 0)
    else:
        count = num_kept if normalization == 'kept' else num_valid
    count = count * labels.size(0) if per_image else count.sum().expand_as(count)
    count = count.to(library.widest_float(count.device))
    return torch.where(count > 0, count, torch.inf).reciprocal()


def reference(logits: Tensor, labels: Tensor, class_weight: Optional[Tensor],
              thresh: Optional[float], min_kept: Optional[int], per_image: bool,
              ignore_index: int) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Plain PyTorch, with its autograd: what the kernels are compared with.

    Returns:
        tuple[Tensor]: For each image the weighted sum of the kept pixels' losses, (N,); the kept
        pixels, (N, H, W) bool; for each image the number of kept and of valid pixels, (N,) int64.
    """
    valid = labels != ignore_index
    # else a NaN at an ignored pixel would come back as its gradient
    logits = logits.to(accumulation_dtype(logits)).masked_fill(~valid[:, None], 0)
    losses = cross_entropy(logits, labels, None, ignore_index, 'none')
    target = labels.where(valid, labels.new_zeros(()))
    over = None
    if thresh is not None:
        probability = logits.detach().softmax(dim=1).gather(1, target[:, None])[:, 0]
        over = valid & ~(probability >= thresh)  # NaN is over
    kept = keep_hard(losses.detach(), valid, over, min_kept, per_image)
    if class_weight is not None:
        losses = losses * class_weight[target]
    sums = losses.where(kept, losses.new_zeros(())).flatten(1).sum(dim=1)
    return sums, kept, kept.flatten(1).sum(dim=1), valid.flatten(1).sum(dim=1)


def cross_entropy(logits: Tensor, labels: Tensor, class_weight: Optional[Tensor],
                  ignore_index: int, reduction: str) -> Tensor:
    """PyTorch's cross entropy in float32 at least, with a sentence for a wrong label or class
    weight.

    Logits (N, C, H, W) and labels (N, H, W) -> (N, H, W) with ``reduction='none'``, or a sum.
    """
    logits = logits.to(accumulation_dtype(logits))
    if class_weight is not None:
        check_class_weight(class_weight, logits.size(1))
        class_weight = class_weight.to(logits.dtype)
    try:
        return F.cross_entropy(logits, labels.long(), class_weight, ignore_index=ignore_index,
                               reduction=reduction)
    except IndexError:  # the loss has looked at the labels already, and found one
        check_labels(labels, labels != ignore_index, logits.size(1), ignore_index)
        raise


def _fake(logits, labels, *args):
    sums = logits.new_empty(logits.size(0), dtype=accumulation_dtype(logits))
    kept = labels.new_empty(labels.shape, dtype=torch.bool)
    counts = labels.new_empty(logits.size(0))
    return sums, kept, counts, torch.empty_like(counts)


OP = library.Op(
    'bootstrapped_cross_entropy(Tensor logits, Tensor labels, Tensor? class_weight, '
    'float? thresh, int? min_kept, bool per_image, int ignore_index) '
    '-> (Tensor, Tensor, Tensor, Tensor)',
    _fake,
    reference,
    triton='bootstrapped_cross_entropy.forward',
    backward=library.Op(
        'bootstrapped_cross_entropy_backward(Tensor gradient, Tensor logits, Tensor labels, '
        'Tensor? class_weight, Tensor kept) -> Tensor',
        lambda gradient, logits, *args: empty_gradient(logits),
        triton='bootstrapped_cross_entropy.backward'),
    save=lambda args, results: (*args[:3], results[1]))
