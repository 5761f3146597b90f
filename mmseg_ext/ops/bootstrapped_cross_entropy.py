"""Cross entropy of the hard pixels only (Eq. 1 of the bootstrapping paper)."""
from typing import Callable, List, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ext.compat import is_compiling

from . import library
from .checks import check_ignore_index, check_tensors
from .hard_pixel_mask import check_min_kept, keep_hard

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
    class_weight = _check(logits, labels, thresh, min_kept, class_weight, normalization)
    min_kept, ignore_index = check_min_kept(min_kept), check_ignore_index(ignore_index)
    which = library.choose(implementation, logits)
    sums, kept, num_kept, num_valid = _implementation(which, logits.device)(
        logits, labels.long(), class_weight, thresh, min_kept, per_image, ignore_index)
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
    _check(logits, labels, thresh, min_kept, None, normalization)
    min_kept, ignore_index = check_min_kept(min_kept), check_ignore_index(ignore_index)
    which = library.choose(implementation, logits)
    with torch.no_grad():
        _, kept, num_kept, num_valid = _implementation(which, logits.device)(
            logits, labels.long(), None, thresh, min_kept, per_image, ignore_index)
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


def _check(logits, labels, thresh, min_kept, class_weight, normalization) -> Optional[Tensor]:
    """Refuse what makes no sense; give the class weights as a tensor."""
    check_options(thresh, min_kept, normalization)
    check_tensors(logits=logits, labels=labels)
    if logits.ndim != 4 or labels.shape != (logits.size(0), *logits.shape[2:]):
        raise ValueError('logits must be (N, C, H, W) and labels (N, H, W) with the same N, H and '
                         f'W, got {tuple(logits.shape)} and {tuple(labels.shape)}.')
    if not logits.is_floating_point() or labels.is_floating_point() or labels.dtype.is_complex:
        raise ValueError('logits must be floating-point and labels integer tensors, got '
                         f'{logits.dtype} and {labels.dtype}.')
    if class_weight is None:
        return None
    class_weight = _brought_to(
        logits.device, torch.as_tensor(class_weight, dtype=accumulation_dtype(logits)))
    if class_weight.shape != (logits.size(1), ):
        raise ValueError(f'class_weight must have one number for each of the {logits.size(1)} '
                         f'classes, got shape {tuple(class_weight.shape)}.')
    return class_weight


def _brought_to(device: torch.device, tensor: Tensor) -> Tensor:
    """The tensor on a device, contiguous. The copy to a GPU is not waited for."""
    if device.type == 'cuda' and tensor.device.type == 'cpu' and not is_compiling():
        tensor = tensor.pin_memory()  # from other memory the copy would be waited for
    return tensor.to(device, non_blocking=True).contiguous()


def accumulation_dtype(logits: Tensor) -> torch.dtype:
    """Type in which losses are computed and summed: float32 or, for float64, float64."""
    # not promote_types, which stops the compiler of torch 2.1
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


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


# ---------------------------------------------------------------- the implementations
#
# Each takes (logits, labels, class_weight, thresh, min_kept, per_image, ignore_index) and gives,
# for each image, the weighted sum of the kept pixels' losses, (N,); the kept pixels, (N, H, W)
# bool; and for each image the number of kept and of valid pixels, (N,) int64.

Selected = Tuple[Tensor, Tensor, Tensor, Tensor]


def reference(logits: Tensor, labels: Tensor, class_weight: Optional[Tensor],
              thresh: Optional[float], min_kept: Optional[int], per_image: bool,
              ignore_index: int) -> Selected:
    """Plain PyTorch, with its autograd: what the kernels are compared with."""
    valid = labels != ignore_index
    # else a NaN at an ignored pixel would come back as its gradient
    logits = logits.to(accumulation_dtype(logits)).masked_fill(~valid[:, None], 0)
    try:
        losses = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction='none')
    except IndexError:  # on a CPU; a GPU says no more than that an assertion failed
        wrong = valid & ((labels < 0) | (labels >= logits.size(1)))
        raise ValueError(wrong_label(labels[wrong][0], logits.size(1), ignore_index)) from None
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


class _Fused(torch.autograd.Function):
    """Autograd over a pair of kernels, forward and backward."""

    @staticmethod
    def forward(ctx, kernels, logits, labels, class_weight, *options):
        with torch._C._AutoDispatchBelowAutograd():
            sums, kept, num_kept, num_valid = kernels[0](logits, labels, class_weight, *options)
        ctx.kernels = kernels
        ctx.save_for_backward(logits, labels, class_weight, kept)
        ctx.mark_non_differentiable(kept, num_kept, num_valid)
        return sums, kept, num_kept, num_valid

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *unused):
        return (None, ctx.kernels[1](gradient, *ctx.saved_tensors)) + (None, ) * 6


def _implementation(which: str, device: torch.device) -> Callable[..., Selected]:
    if which == 'reference':
        return reference
    if which == 'triton' and device.type == 'cpu':  # its interpreter, which no device stands for
        from .triton import bootstrapped_cross_entropy as kernels
        return lambda *args: _Fused.apply((kernels.forward, kernels.backward), *args)
    return torch.ops.mmseg_ext.bootstrapped_cross_entropy


def wrong_label(label: Union[int, Tensor], classes: int, ignore_index: int) -> str:
    """Say that a label is no class (``csrc`` says the same)."""
    return (f'labels hold {int(label)}, which is neither one of the {classes} classes, 0 to '
            f'{classes - 1}, nor ignore_index, {ignore_index}.')


def empty_gradient(logits: Tensor) -> Tensor:
    """Make room for a gradient: channels last where the logits are, else contiguous."""
    channels_last = not logits.is_contiguous() and logits.is_contiguous(
        memory_format=torch.channels_last)
    return torch.empty_like(logits, memory_format=torch.channels_last if channels_last else
                            torch.contiguous_format)


def _fake_forward(logits, labels, *args):
    sums = logits.new_empty(logits.size(0), dtype=accumulation_dtype(logits))
    kept = labels.new_empty(labels.shape, dtype=torch.bool)
    counts = labels.new_empty(logits.size(0))
    return sums, kept, counts, torch.empty_like(counts)


library.define(
    'bootstrapped_cross_entropy',
    '(Tensor logits, Tensor labels, Tensor? class_weight, float? thresh, int? min_kept, '
    'bool per_image, int ignore_index) -> (Tensor, Tensor, Tensor, Tensor)',
    fake=_fake_forward,
    triton='bootstrapped_cross_entropy.forward')
library.define(
    'bootstrapped_cross_entropy_backward',
    '(Tensor gradient, Tensor logits, Tensor labels, Tensor? class_weight, Tensor kept) -> Tensor',
    fake=lambda gradient, logits, *args: empty_gradient(logits),
    triton='bootstrapped_cross_entropy.backward')
_OPS = torch.ops.mmseg_ext
library.LIBRARY.impl(
    'bootstrapped_cross_entropy',
    lambda *args: _Fused.apply((_OPS.bootstrapped_cross_entropy,
                                _OPS.bootstrapped_cross_entropy_backward), *args),
    'Autograd')
