"""The losses of a head from logits that are not enlarged to the size of the labels."""
from functools import partial
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn as nn
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures.sampler import OHEMPixelSampler
from mmseg.utils import SampleList
from torch import Tensor

from mmseg_ext.models.losses.bootstrapped_cross_entropy_loss import BootstrappedCrossEntropyLoss
from mmseg_ext.models.losses.class_weighted_cross_entropy_loss import (
    ClassWeightedCrossEntropyLoss,
)
from mmseg_ext.models.losses.divisor import divisor
from mmseg_ext.models.losses.head_losses import losses_of
from mmseg_ext.models.samplers.bootstrap_pixel_sampler import BootstrapPixelSampler
from mmseg_ext.ops.bootstrapped_cross_entropy import normalizers
from mmseg_ext.ops.upsampled_cross_entropy import PixelSums, upsampled_cross_entropy_sums

LOSSES = (BootstrappedCrossEntropyLoss, ClassWeightedCrossEntropyLoss, CrossEntropyLoss)


def use_small_logits(head: nn.Module) -> Optional[str]:
    """Let a head of mmseg compute its losses from small logits, if it can.

    Args:
        head (nn.Module): A decode head. Its ``loss_by_feat`` is replaced, unless it does so
            already.

    Returns:
        str, optional: Why it cannot; None if it can.
    """
    reason = why_large_logits(head)
    if type(head).loss_by_feat is BaseDecodeHead.loss_by_feat:
        if reason is None:
            head.loss_by_feat = partial(loss_by_feat, head)
    elif not getattr(head, 'takes_small_logits', False):
        reason = f'{type(head).__name__} has a loss_by_feat of its own'
    return reason


def why_large_logits(head: nn.Module) -> Optional[str]:
    """Say why the losses of a head need logits of the size of the labels; None if they do not."""
    if head.out_channels == 1:
        return 'it has one logit'
    for loss in losses_of(head):
        name = type(loss).__name__
        # not isinstance: what a subclass computes is not known
        if type(loss) not in LOSSES:
            return f'{name} needs logits of full size'
        if isinstance(loss, CrossEntropyLoss) and (loss.use_sigmoid or loss.use_mask):
            return f'{name} is of sigmoids'
        reason = _why_not(head.sampler, loss)
        if reason is not None:
            return reason
    return None


def _why_not(sampler: Any, loss: nn.Module) -> Optional[str]:
    """Why a loss behind a sampler needs logits of full size; None if it does not."""
    if type(sampler) not in (type(None), BootstrapPixelSampler, OHEMPixelSampler):
        return f'{type(sampler).__name__} needs logits of full size'
    if isinstance(sampler, BootstrapPixelSampler) and sampler.difficulty == 'loss':
        return "BootstrapPixelSampler(difficulty='loss') needs the loss of each pixel"
    if isinstance(sampler, OHEMPixelSampler):
        if isinstance(loss, BootstrappedCrossEntropyLoss):
            return 'BootstrappedCrossEntropyLoss selects other pixels than OHEMPixelSampler'
        if sampler.thresh is None:
            return 'OHEMPixelSampler without thresh needs the loss of each pixel'
    return None


def is_listened_to(head: nn.Module) -> bool:
    """Whether a hook waits for a loss of the head to be called, with logits of full size.

    Such as ``HardPixelVisualizationHook`` in the iterations that it logs.
    """
    # BootstrapPixelSampler has one hook of its own on some losses
    return any(len(loss._forward_pre_hooks) > getattr(loss, '_has_fitted_weights', 0)
               or loss._forward_hooks for loss in losses_of(head))


def loss_by_feat(head: nn.Module, seg_logits: Tensor,
                 batch_data_samples: SampleList) -> Dict[str, Tensor]:
    """Compute the losses and ``acc_seg`` as mmseg's ``BaseDecodeHead`` does.

    Where nothing is to be enlarged, or a hook waits for large logits, it is that head's own way.

    Args:
        head (nn.Module): A head for which :func:`use_small_logits` gave None.
        seg_logits (Tensor): (N, C, h, w).
        batch_data_samples (list[:obj:`SegDataSample`]): With labels, (1, H, W) each.

    Returns:
        dict[str, Tensor]: The losses by their names, and ``acc_seg``, (1,), in per cent.
    """
    label = head._stack_batch_gt(batch_data_samples).squeeze(1)
    if seg_logits.shape[2:] == label.shape[1:] or is_listened_to(head):
        return BaseDecodeHead.loss_by_feat(head, seg_logits, batch_data_samples)
    losses: Dict[str, Tensor] = {}
    values, losses['acc_seg'] = losses_and_accuracy(head, seg_logits, label)
    for loss, value in zip(losses_of(head), values):
        name = loss.loss_name
        losses[name] = losses[name] + value if name in losses else value
    return losses


def losses_and_accuracy(head: nn.Module, logits: Tensor,
                        label: Tensor) -> Tuple[List[Tensor], Tensor]:
    """Compute the losses of a head from small logits.

    Args:
        head (nn.Module): A head for which :func:`why_large_logits` gives None.
        logits (Tensor): (N, C, h, w).
        label (Tensor): (N, H, W).

    Returns:
        tuple: The value of each loss, and mmseg's ``acc_seg``, (1,), in per cent.
    """
    values, sums = zip(*(_loss(head, loss, logits, label) for loss in losses_of(head)))
    # mmseg counts so: a batch without labels has 100 %
    eps = torch.finfo(torch.float32).eps
    num_valid, num_correct = (count.sum()[None].float()
                              for count in (sums[0].num_valid, sums[0].num_correct))
    return list(values), 100 * (num_correct + eps) / (num_valid + eps)


class _Selection(NamedTuple):
    """Which pixels a loss sees, and what their sum is divided by: a word, or None for its own."""
    thresh: Optional[float] = None
    min_kept: Optional[int] = None
    per_image: bool = False
    normalization: Optional[str] = None


def _selection(sampler: Any, loss: nn.Module, images: int) -> _Selection:
    if isinstance(loss, BootstrappedCrossEntropyLoss):  # selects for itself, as without a sampler
        return _Selection(**loss.selection)
    if isinstance(sampler, BootstrapPixelSampler):
        return _Selection(**sampler.selection)
    if isinstance(sampler, OHEMPixelSampler):
        return _Selection(sampler.thresh, sampler.min_kept * images)
    return _Selection()


def _loss(head: nn.Module, loss: nn.Module, logits: Tensor,
          label: Tensor) -> Tuple[Tensor, PixelSums]:
    thresh, min_kept, per_image, normalization = _selection(head.sampler, loss, len(label))
    sums = upsampled_cross_entropy_sums(
        logits, label, align_corners=head.align_corners, thresh=thresh, min_kept=min_kept,
        per_image=per_image, class_weight=loss.class_weight, ignore_index=head.ignore_index)
    if normalization is not None:
        scale = normalizers(label, sums.num_kept, sums.num_valid, per_image, normalization)
    else:
        count = divisor(loss, label, sums.kept, head.ignore_index)
        scale = torch.where(count > 0, count, torch.inf).reciprocal()
    value = (sums.total * scale.to(sums.total.dtype)).sum()
    return loss.loss_weight * value, sums
