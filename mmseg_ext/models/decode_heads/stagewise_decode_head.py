from abc import ABCMeta, abstractmethod
from typing import Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import LovaszLoss, accuracy
from mmseg.models.losses.lovasz_loss import lovasz_softmax
from mmseg.models.utils import resize
from mmseg.utils import ConfigType, SampleList
from torch import Tensor

from mmseg_ext.models.losses.head_losses import losses_of

from .small_logits import is_listened_to, losses_and_accuracy, why_large_logits


class StagewiseDecodeHead(BaseDecodeHead, metaclass=ABCMeta):
    """Base of heads that predict a label map at several stages, each with its own loss.

    Shapes: N images, C classes, K stages ordered from coarse to fine, stage k at h_k x w_k.

    With one loss in ``loss_decode``, stage k is logged as ``loss_s{k}``, k = 1..K. With a list, the
    first loss has these names and every other appends its own: ``loss_s{k}_dice``. A head with
    one stage logs the plain ``loss_name``, as every mmseg head does.

    Args:
        in_channels (Sequence[int]): Channels of the backbone maps, finest first.
        num_stages (int): K.
        num_classes (int): C.
        channels (int): Channels of the intermediate maps; each subclass says which.
        in_index (Sequence[int], optional): Which backbone maps to take. Defaults to the first
            ``len(in_channels)``.
        stage_weights (Sequence[float], optional): Factor of each stage's loss, coarse to fine.
            Defaults to 1 for every stage (Label Refinement Network, Sec. 4). Stages of weight 0
            are left out of the log; what they alone use gets a gradient of zero.
        supervision (str): ``'labels'`` compares each stage with the label map resized to the
            stage (LRN's R_k(Y), Eq. 1 and 3; :func:`resize_label`). ``'logits'`` resizes each stage
            to the label map (bilinear; the same authors' G-FRNet), tile by tile where the losses
            allow it (:class:`FusedEncoderDecoder`). Defaults to ``'labels'``.
        dropout_ratio (float): 0, which is the default; see Raises.
        kwargs: Arguments of mmseg's ``BaseDecodeHead``: ``norm_cfg``, ``loss_decode``,
            ``sampler``, ``ignore_index``, ``align_corners``, ``out_channels``...

    Raises:
        ValueError: If ``supervision`` is unknown, ``stage_weights`` has not K entries or is 0 for
            all, a loss has class weights for another number of classes, ``dropout_ratio`` is not 0
            (neither LRN nor SegNet has dropout before a classifier), or ``out_channels`` is 1 and
            a loss needs a logit for each class.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 num_stages: int,
                 *,
                 num_classes: int,
                 channels: int,
                 in_index: Optional[Sequence[int]] = None,
                 stage_weights: Optional[Sequence[float]] = None,
                 supervision: str = 'labels',
                 dropout_ratio: float = 0,
                 init_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        if dropout_ratio:
            raise ValueError(f'{type(self).__name__} has no dropout, as in the paper, got '
                             f'dropout_ratio={dropout_ratio}: leave it out.')
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            in_index=tuple(range(len(in_channels))) if in_index is None else in_index,
            input_transform='multiple_select',
            dropout_ratio=0,
            init_cfg=init_cfg,
            **kwargs)
        # Each stage has a classifier of its own. An unused one would stop distributed training.
        del self.conv_seg

        if supervision not in ('labels', 'logits'):
            raise ValueError(f"supervision must be 'labels' or 'logits', got {supervision!r}.")
        self.supervision = supervision
        self.num_stages = num_stages
        self.stage_weights = tuple(stage_weights or [1.0] * num_stages)
        if len(self.stage_weights) != num_stages:
            raise ValueError(f'{type(self).__name__} has {num_stages} stages, but stage_weights '
                             f'has {len(self.stage_weights)} entries.')
        if not any(self.stage_weights):
            raise ValueError(f'stage_weights is {list(self.stage_weights)}, but a head learns from '
                             'at least one stage.')
        for loss in losses_of(self):
            class_weight = getattr(loss, 'class_weight', None)
            if class_weight is not None and len(class_weight) != self.out_channels:
                raise ValueError(f'{type(loss).__name__} has {len(class_weight)} class weights, '
                                 f'but the head has {num_classes} classes and '
                                 f'{self.out_channels} logits.')
            if self.out_channels == 1 and not _takes_one_logit(loss):
                raise ValueError(f'{type(loss).__name__} needs a logit for each class, but the '
                                 'head has out_channels=1: leave out_channels out, or use a loss '
                                 "of one logit, such as dict(type='CrossEntropyLoss', "
                                 'use_sigmoid=True).')
        self.takes_small_logits = supervision == 'logits' and why_large_logits(self) is None

    @abstractmethod
    def forward(self, inputs: Sequence[Tensor]) -> List[Tensor]:
        """Predict the logits of all K stages, coarse to fine, (N, C, h_k, w_k) each."""

    def predict_stages(self, inputs: Sequence[Tensor], batch_img_metas: List[dict],
                       test_cfg: ConfigType) -> List[Tensor]:
        """Predict every stage at the size of the input, bilinear (LRN, Sec. 5.5): (N, C, H, W)."""
        resize_to_image = super().predict_by_feat
        return [resize_to_image(logits, batch_img_metas) for logits in self.forward(inputs)]

    def predict_by_feat(self, seg_logits: List[Tensor], batch_img_metas: List[dict]) -> Tensor:
        """Bring the finest stage to the size of the input, (N, C, H, W)."""
        return super().predict_by_feat(seg_logits[-1], batch_img_metas)

    def loss_by_feat(self, seg_logits: List[Tensor],
                     batch_data_samples: SampleList) -> Dict[str, Tensor]:
        """Compute a loss for each stage and loss function, times the weight of the stage, and
        ``acc_seg``, the pixel accuracy of the finest stage in per cent.
        """
        full_label = self._stack_batch_gt(batch_data_samples)  # (N, 1, H, W)
        losses: Dict[str, Tensor] = {}
        unused = []
        for k, (logits, stage_weight) in enumerate(zip(seg_logits, self.stage_weights), start=1):
            label = full_label
            if self.supervision == 'labels':
                label = resize_label(full_label, logits.shape[2:])
            elif not self.takes_small_logits or is_listened_to(self):
                logits = resize(
                    logits, full_label.shape[2:], mode='bilinear', align_corners=self.align_corners)
            if not stage_weight:
                unused.append(logits)
            if stage_weight or k == self.num_stages:  # the last for its accuracy
                values, losses['acc_seg'] = self._stage_losses(k, logits, label)
            if stage_weight:
                losses.update((name, stage_weight * value) for name, value in values.items())
        losses['acc_seg'] = losses.pop('acc_seg')  # behind the losses in the log
        # DistributedDataParallel waits for the gradient of every parameter. Not 0 * logits.sum(),
        # which is NaN where a logit is infinite: the sum of no elements is 0, with a graph.
        first = next(iter(losses))
        losses[first] = sum((logits[:0].sum() for logits in unused), losses[first])
        return losses

    def _accuracy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Pixel accuracy in per cent. ``label``: (N, 1, h, w)."""
        if self.out_channels == 1:  # mmseg's would take the only channel for the answer everywhere
            probability = logits.detach().sigmoid()
            logits = torch.cat([probability <= self.threshold, probability > self.threshold],
                               dim=1).float()
        return accuracy(logits, label.squeeze(1), ignore_index=self.ignore_index)

    def _stage_losses(self, k: int, logits: Tensor,
                      label: Tensor) -> Tuple[Dict[str, Tensor], Tensor]:
        """All loss functions on one stage, and its accuracy. ``label``: (N, 1, H, W)."""
        if logits.shape[2:] == label.shape[2:]:
            weight = None if self.sampler is None else self.sampler.sample(logits, label)
            values = [loss(logits, label.squeeze(1), weight=weight, ignore_index=self.ignore_index)
                      for loss in losses_of(self)]
            accuracy = self._accuracy(logits, label)
        else:
            values, accuracy = losses_and_accuracy(self, logits, label.squeeze(1))
        losses: Dict[str, Tensor] = {}
        for i, (loss, value) in enumerate(zip(losses_of(self), values)):
            name = loss.loss_name
            if self.num_stages > 1:
                name = f'loss_s{k}' if i == 0 else f"loss_s{k}_{name[len('loss_'):]}"
            losses[name] = losses[name] + value if name in losses else value
        return losses, accuracy


def _takes_one_logit(loss: nn.Module) -> bool:
    """Whether a loss is of one logit a pixel, not of a softmax over the classes."""
    if isinstance(loss, LovaszLoss):
        return loss.cls_criterion is not lovasz_softmax
    softmax = type(loss).__name__ in ('TverskyLoss', 'HuasdorffDisstanceLoss')
    if softmax or type(loss).__module__.startswith('mmseg_ext.'):
        return False
    return getattr(loss, 'use_sigmoid', True)


def resize_label(label: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a label map to a stage: R_k(Y) of Eq. 1 and 3, the label at each position's centre.

    The enlargement of a stage puts a position's score at the centre of its pixels, so the label is
    taken there. The label of the top-left pixel would move every boundary by half a position: on
    CamVid the first stage of a perfect prediction then has 45 % mIoU instead of 58 %.

    Args:
        label (Tensor): Integer labels, (N, 1, H, W).
        size (Sequence[int]): (h, w).

    Returns:
        Tensor: Labels of the same type, (N, 1, h, w). Where the centre lies between two pixels, it
        is the one below or to the right, as in PyTorch's ``'nearest-exact'``.
    """
    # Whole numbers are exact for every label and size, and on devices without float64.
    rows, columns = (
        (2 * torch.arange(target, device=label.device) + 1) * length // (2 * target)
        for length, target in zip(label.shape[2:], size))
    return label[:, :, rows[:, None], columns]
