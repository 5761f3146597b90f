from typing import Optional

import torch
import torch.nn as nn
from mmseg.registry import TASK_UTILS
from mmseg.structures.sampler import BasePixelSampler
from torch import Tensor

from mmseg_ext.models.box_coders.pixel_boxes import PixelBoxes, paired_iou
from mmseg_ext.models.losses.divisor import op_normalization
from mmseg_ext.ops import hard_pixel_mask
from mmseg_ext.ops.bootstrapped_cross_entropy import normalizers
from mmseg_ext.ops.hard_pixel_mask import check_min_kept


@TASK_UTILS.register_module()
class IoUBootstrapSampler(BasePixelSampler):
    """Online bootstrapping of a localization network: drops pixels whose box is right already.

    A pixel is easy if its predicted box has a high IoU with the true one: the non-maximum
    suppression of the test compares boxes by their IoU, not by the four regressed numbers. Where
    too few pixels of an image are hard, those with its lowest IoU are kept.

    Source: Sec. 2.2 of `Bridging Category-level and Instance-level Semantic Image Segmentation
    <https://arxiv.org/abs/1605.06885>`_ (Wu, Shen, van den Hengel), which gives neither threshold
    nor number: 0.7 is ours, 512 is the paper's best for the semantic network, where it counts
    points of a grid with stride 8 (``label_stride=8``).

    Args:
        context (nn.Module): The head, whose ``box_coder`` is used. mmseg gives it.
        thresh (float, optional): Pixels whose IoU is below are kept, in (0, 1]. Defaults to 0.7;
            None: the ``min_kept`` of lowest IoU are.
        min_kept (int, optional): Least number of kept pixels of each image. Defaults to 512; None:
            no least number.
        normalization (str): What the loss ends up divided by: the number of ``'kept'`` pixels of
            the batch of a process (Eq. 1), of ``'valid'`` ones or of ``'all'``. Defaults to
            ``'kept'``.

    Raises:
        ValueError: If an argument is out of its range, or the head is no ``LocalizationHead``.

    Note:
        With neither threshold nor ``min_kept`` all valid pixels are kept. Under ties exactly
        ``min_kept`` are, the first in memory order; all valid ones of an image that has fewer. No
        gradient flows through the selection. The weights of :class:`LocalizationLoss` for the size
        of an instance have no part in it: they are normalized over the valid pixels first, then
        the kept pixels are summed up and divided by their number.

    Example:
        >>> decode_head = dict(
        ...     type='LocalizationHead', sampler=dict(type='IoUBootstrapSampler', min_kept=256))
    """

    def __init__(self,
                 context: nn.Module,
                 thresh: Optional[float] = 0.7,
                 min_kept: Optional[int] = 512,
                 normalization: str = 'kept') -> None:
        super().__init__()
        if thresh is not None and not 0 < thresh <= 1:
            raise ValueError('IoUBootstrapSampler thresh is the IoU from which on a pixel is easy, '
                             f'in (0, 1], or None; got {thresh}.')
        check_min_kept(min_kept)
        self.context = context
        self.thresh = thresh
        self.min_kept = min_kept
        self.normalization = op_normalization(normalization)

    def sample(self, seg_logit: Tensor, seg_label: PixelBoxes) -> Tensor:
        """Weigh the pixels of a batch.

        Args:
            seg_logit (Tensor): The four numbers of each pixel's own class, (N, 4, H, W).
            seg_label (PixelBoxes): The boxes of the instances.

        Returns:
            Tensor: Weights for a loss that divides by the valid pixels, (N, H, W) float32: 0 where
            a pixel is not kept.
        """
        if not isinstance(seg_label, PixelBoxes):
            raise ValueError('IoUBootstrapSampler compares boxes, which LocalizationHead gives it: '
                             f'it cannot sample for {type(self.context).__name__}.')
        valid = seg_label.valid
        with torch.no_grad():
            predicted = self.context.box_coder.decode(seg_logit)
            iou = paired_iou(predicted, seg_label.boxes.to(predicted.dtype))
            # the negative IoU, as 1 - IoU would round a pixel to the other side of the threshold
            kept = hard_pixel_mask(
                -iou, valid, thresh=None if self.thresh is None else -self.thresh,
                min_kept=self.min_kept, per_image=True)
            num_valid = valid.flatten(1).sum(dim=1)
            scale = normalizers(valid, kept.flatten(1).sum(dim=1), num_valid, False,
                                self.normalization) * num_valid.sum()
            return kept * scale.float()[:, None, None]
