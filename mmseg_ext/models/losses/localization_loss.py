from typing import Optional

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.models.box_coders.pixel_boxes import PixelBoxes

from .pixel_loss import PixelLoss


@MODELS.register_module()
class LocalizationLoss(PixelLoss):
    r"""Smooth L1 of what the pixels of instances regress, for :class:`LocalizationHead`.

    .. math:: L = \frac{1}{Z} \sum_{i\,valid} w_i \sum_{k=1}^4 \mathrm{smooth}_{L1}(\hat t_{ik} -
              t_{ik}), \qquad w_i \propto \frac{1}{\sqrt{h_i w_i}}

    with the height and width of pixel i's instance; all pixels of an instance weigh the same.

    Source: Wu, Shen, van den Hengel, `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_, Sec. 2.1, with the loss of Fast R-CNN. The
    paper re-weights the pixels "according to their heights and widths" and leaves the form open.
    Ours is the inverse square root of the area, with a mean of 1 over the valid pixels of an image.

    Args:
        beta (float): Where the loss turns from a square into an absolute value, in units of the
            regressed numbers. Defaults to 1, as in Fast R-CNN; 0 is the L1 loss.
        size_weight (bool): Whether to weigh the pixels by the size of their instance. Defaults to
            True.
        loss_weight (float): Factor of the loss. Defaults to 1.0.
        loss_name (str): Name in the log. Defaults to ``'loss_box'``.

    Raises:
        ValueError: If ``beta`` is negative; in a call, if ``pred`` does not fit ``target``.

    Note:
        ``pred`` holds the four numbers of each pixel's own class, (N, 4, H, W), and ``target`` is
        :class:`~mmseg_ext.models.box_coders.pixel_boxes.PixelBoxes`. Z is the number of valid
        pixels; with ``IoUBootstrapSampler``, whose weights come on top of w, it is the number of
        kept ones (Eq. 1). Both are counted per process, see :class:`PixelLoss`.
    """

    def __init__(self,
                 beta: float = 1.0,
                 size_weight: bool = True,
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_box') -> None:
        super().__init__(loss_weight, loss_name)
        if not beta >= 0:
            raise ValueError(f'LocalizationLoss beta must not be negative, got {beta}.')
        self.beta = beta
        self.size_weight = size_weight

    @property
    def divides_by(self) -> str:
        """What the sum over the pixels is divided by: the valid ones."""
        return 'valid'

    def check(self, pred: Tensor, target: PixelBoxes) -> None:
        """Raise a ValueError unless these are numbers (N, 4, H, W) and boxes of as many pixels."""
        if not isinstance(target, PixelBoxes):
            raise ValueError('LocalizationLoss compares boxes, which LocalizationHead gives it: '
                             f'target must be PixelBoxes, got {type(target).__name__}.')
        if pred.shape != target.transforms.shape or not pred.is_floating_point():
            raise ValueError(
                'pred must have four floating-point numbers for each pixel of target, '
                f'{tuple(target.transforms.shape)}, got {tuple(pred.shape)} {pred.dtype}.')

    def pixel_losses(self, pred: Tensor, target: PixelBoxes, ignore_index: int) -> Tensor:
        """Give the weighted loss of each pixel, (N, H, W), 0 where it is not valid."""
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
        truth = target.transforms.to(pred.dtype)
        # in front of the difference, whose gradient at an invalid NaN would be NaN
        pred = pred.where(target.valid[:, None], truth)
        losses = F.smooth_l1_loss(pred, truth, reduction='none', beta=self.beta).sum(dim=1)
        return losses * size_weights(target).to(losses.dtype) if self.size_weight else losses

    def mean(self, pred: Tensor, target: PixelBoxes, weight: Optional[Tensor],
             ignore_index: int) -> Tensor:
        """Divide the total by the number of valid pixels."""
        total = self.total(pred, target, weight, ignore_index).sum()
        return total / target.valid.sum().clamp(min=1)


def size_weights(target: PixelBoxes) -> Tensor:
    """Weigh each pixel by 1 / sqrt(h w) of its instance.

    Args:
        target (PixelBoxes): The boxes of the instances.

    Returns:
        Tensor: (N, H, W), 0 where a pixel is not valid; the mean over the valid pixels of an image
        is 1.
    """
    weights = target.areas.rsqrt().masked_fill(~target.valid, 0)
    total = weights.flatten(1).sum(dim=1)
    count = target.valid.flatten(1).sum(dim=1)
    scale = count / total.where(total > 0, torch.ones_like(total))
    return weights * scale[:, None, None]
