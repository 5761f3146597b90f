"""What a loss divides its sum over the pixels by.

A loss says it by an attribute ``divides_by``, one of ``DIVISORS``, or None where it has no sum over
the pixels or selects pixels for itself, and by ``per_image``, whether it does so in each image and
takes the mean of the images.
"""
from typing import Optional

import torch
import torch.nn as nn
from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor

from mmseg_ext.ops.library import widest_float

#: The pixels that a sampler kept, the valid ones, all; the class weights of the valid ones; the
#: number of images; nothing, which is a plain sum.
DIVISORS = ('kept', 'valid', 'all', 'weights', 'images', 'nothing')
#: What a bootstrapped loss may be divided by.
NORMALIZATIONS = ('kept', 'valid', 'all')
# mmseg's losses over regions. By name: mmseg has not always had all of them.
_OVER_REGIONS = ('DiceLoss', 'HuasdorffDisstanceLoss', 'LovaszLoss', 'TverskyLoss')


def op_normalization(normalization: str) -> str:
    """Give the name that ``bootstrapped_cross_entropy`` has for one of ``NORMALIZATIONS``, or for
    ``'numel'``, the older name of ``'all'``.

    Raises a ValueError for another.
    """
    if normalization not in (*NORMALIZATIONS, 'numel'):
        raise ValueError(
            f"normalization must be 'kept', 'valid' or 'all', got {normalization!r}.")
    return 'numel' if normalization == 'all' else normalization


def divides_by(loss: nn.Module) -> Optional[str]:
    """What a loss divides its sum over the pixels by.

    Args:
        loss (nn.Module): A loss with an attribute ``divides_by``, one of mmseg's, or one whose
            arguments mean what those of mmseg's ``CrossEntropyLoss`` mean.

    Returns:
        str, optional: One of ``DIVISORS``; None for a loss over regions, and for one that selects
        pixels for itself.

    Raises:
        ValueError: If the loss says something else.
    """
    if hasattr(loss, 'divides_by'):
        if loss.divides_by is not None and loss.divides_by not in DIVISORS:
            raise ValueError(f'{type(loss).__name__}.divides_by must be one of {DIVISORS}, or None '
                             f'for a loss that takes no weights, got {loss.divides_by!r}.')
        return loss.divides_by
    if type(loss).__name__ in _OVER_REGIONS:
        return None
    reduction = getattr(loss, 'reduction', 'mean')
    if reduction != 'mean':
        return 'nothing' if reduction == 'sum' else 'all'  # mmengine takes the mean of a map
    if (isinstance(loss, CrossEntropyLoss) and loss.class_weight is not None
            and not loss.use_sigmoid):
        return 'weights'
    return 'valid' if getattr(loss, 'avg_non_ignore', False) else 'all'


def divisor(loss: nn.Module, label: Tensor, weight: Tensor, ignore_index: int) -> Tensor:
    """Count what a loss divides by.

    Args:
        loss (nn.Module): A loss for which ``divides_by`` is not None.
        label (Tensor): (N, H, W).
        weight (Tensor): Of the pixels, (N, H, W); 0 where a sampler did not keep one.
        ignore_index (int): Label of the pixels that do not count.

    Returns:
        Tensor: Z, (N,) float64 (float32 on MPS): the loss is the sum over the images of the sum
        over the pixels of an image, divided by its Z.
    """
    kind, dtype = divides_by(loss), widest_float(label.device)
    if kind == 'images':
        return label.new_full((len(label), ), len(label), dtype=dtype)
    if kind == 'nothing':
        return label.new_ones(len(label), dtype=dtype)
    if kind == 'weights':
        counted = _weights_of_pixels(loss, label, ignore_index)
    elif kind == 'kept':
        counted = weight > 0
    else:
        counted = label != ignore_index if kind == 'valid' else torch.ones_like(label)
    counts = counted.flatten(1).sum(dim=1, dtype=dtype)
    # as one number and, in a loss per image, as the mean of N values
    per_image = hasattr(loss, 'divides_by') and getattr(loss, 'per_image', False)
    return counts * len(label) if per_image else counts.sum().expand(len(label))


def _weights_of_pixels(loss: nn.Module, label: Tensor, ignore_index: int) -> Tensor:
    """The class weights of the pixels that are counted, (N, H, W)."""
    weights = torch.as_tensor(loss.class_weight, device=label.device)
    counted = label != ignore_index
    if isinstance(loss, CrossEntropyLoss) and not loss.avg_non_ignore:
        # mmseg's counts an ignored pixel too, with the weight of the class of that number
        counted = (label >= -len(weights)) & (label < len(weights))
    # Not label[counted], for whose size a GPU would have to be waited for.
    weights = weights[label.where(counted, label.new_zeros(()))]
    return weights.where(counted, weights.new_zeros(()))
