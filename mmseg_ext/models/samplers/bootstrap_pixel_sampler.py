from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn as nn
from mmseg.models.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    HuasdorffDisstanceLoss,
    LovaszLoss,
    TverskyLoss,
)
from mmseg.registry import TASK_UTILS
from mmseg.structures.sampler import BasePixelSampler
from torch import Tensor

from mmseg_ext.models.losses import BootstrappedCrossEntropyLoss, ClassWeightedCrossEntropyLoss
from mmseg_ext.ops import hard_pixel_mask, select_hard_pixels
from mmseg_ext.ops.bootstrapped_cross_entropy import HardPixels, check_options, normalizers


@TASK_UTILS.register_module()
class BootstrapPixelSampler(BasePixelSampler):
    """Online bootstrapping for any loss with pixel weights: a drop-in for ``OHEMPixelSampler``.

    Keeps the pixels that are hard for the current model (Eq. 1 of `Bridging Category-level and
    Instance-level Semantic Image Segmentation <https://arxiv.org/abs/1605.06885>`_) and gives them
    weights that carry Eq. 1's normalization: a loss that divides by something else, such as mmseg's
    cross entropy by all pixels, ends up divided by the number of kept ones. Three more differences
    from mmseg's sampler: ``min_kept`` counts in the batch (mmseg multiplies it by the batch size)
    or in each image, exactly ``min_kept`` are kept under ties, and all where there are fewer.

    For cross entropy alone, ``BootstrappedCrossEntropyLoss`` does the same in less time.

    Args:
        context (nn.Module): The head, whose losses and ``ignore_index`` are read. mmseg gives it.
        thresh (float, optional): Pixels whose label has a probability below are kept, in (0, 1].
            Defaults to None.
        min_kept (int, optional): Least number of kept pixels. Defaults to None.
        per_image (bool): Whether ``min_kept`` and the normalization count in each image instead of
            the batch of a process. Defaults to False.
        normalization (str): What the losses end up divided by: the number of ``'kept'`` pixels
            (Eq. 1), of ``'valid'`` or of all (``'numel'``). Defaults to ``'kept'``.
        difficulty (str): What makes a pixel hard: a low ``'probability'`` of its label by softmax
            (Eq. 1), or a high ``'loss'``, the sum of the head's own losses, for losses that have a
            value for each pixel; there is no threshold then. Defaults to ``'probability'``.

    Raises:
        ValueError: If an argument is out of its range, or the head has losses that divide by
            different things, which one map of weights cannot make up for.

    Note:
        Losses over regions (``DiceLoss``, ``LovaszLoss``, ``TverskyLoss`` ...) have no pixels to
        weigh and see all of them; ``BootstrappedCrossEntropyLoss`` selects for itself.

    Example:
        >>> decode_head = dict(
        ...     sampler=dict(type='BootstrapPixelSampler', thresh=0.6, min_kept=100000))
    """

    def __init__(self,
                 context: nn.Module,
                 thresh: Optional[float] = None,
                 min_kept: Optional[int] = None,
                 per_image: bool = False,
                 normalization: str = 'kept',
                 difficulty: str = 'probability') -> None:
        super().__init__()
        check_options(thresh, min_kept, normalization)
        if difficulty not in ('probability', 'loss'):
            raise ValueError(f"difficulty must be 'probability' or 'loss', got {difficulty!r}.")
        if difficulty == 'loss' and thresh is not None:
            raise ValueError("thresh is a probability and has no meaning with difficulty='loss': "
                             'give min_kept alone.')
        self.context = context
        self.selection = dict(
            thresh=thresh, min_kept=min_kept, per_image=per_image, normalization=normalization)
        self.difficulty = difficulty
        kinds = {_divides_by(loss) for loss in self._losses()} - {None}
        if len(kinds) > 1:
            raise ValueError(
                f"The losses of the head divide by different things ({', '.join(sorted(kinds))}), "
                'and one map of weights cannot normalize them all: give them the same '
                'avg_non_ignore, reduction and class_weight.')
        self.divides_by = kinds.pop() if kinds else 'pixels'
        for loss in self._losses():
            if isinstance(loss, _WITHOUT_PIXEL_WEIGHTS + (FocalLoss, )):
                loss.register_forward_pre_hook(_fit_weight, with_kwargs=True)

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Weigh the pixels of a batch.

        Args:
            seg_logit (Tensor): (N, C, H, W).
            seg_label (Tensor): (N, 1, H, W).

        Returns:
            Tensor: Weights, (N, H, W) float32: 0 where a pixel is not kept.
        """
        label = seg_label.squeeze(1)
        with torch.no_grad():
            if self.difficulty == 'probability':
                hard = select_hard_pixels(
                    seg_logit, label, ignore_index=self.context.ignore_index, **self.selection)
            else:
                hard = self._hard_by_loss(seg_logit, label)
            scale = hard.scale * self._divisor(label)
            return hard.kept * scale.float()[:, None, None]

    def _losses(self) -> List[nn.Module]:
        losses = getattr(self.context, 'loss_decode', [])
        return [losses] if isinstance(losses, nn.Module) and not isinstance(
            losses, nn.ModuleList) else list(losses)

    def _hard_by_loss(self, logits: Tensor, label: Tensor) -> HardPixels:
        total = torch.zeros_like(label, dtype=torch.float32)
        found = False
        for loss in self._losses():
            losses = loss(logits, label, ignore_index=self.context.ignore_index,
                          reduction_override='none')
            if losses.ndim == 4:  # a value for each class, as of binary cross entropy
                losses = losses.sum(dim=1)
            if losses.shape == label.shape:
                total, found = total + losses, True
        if not found:
            names = [type(loss).__name__ for loss in self._losses()]
            raise ValueError("difficulty='loss' needs a loss with a value for each pixel and the "
                             f"head has {names}: use difficulty='probability'.")
        valid = label != self.context.ignore_index
        options = dict(self.selection)
        normalization = options.pop('normalization')
        kept = hard_pixel_mask(total, valid, **options)
        scale = normalizers(label, kept.flatten(1).sum(dim=1), valid.flatten(1).sum(dim=1),
                            options['per_image'], normalization)
        return HardPixels(kept, scale)

    def _divisor(self, label: Tensor) -> Union[int, Tensor]:
        """What the head's losses divide their sum by."""
        valid = label != self.context.ignore_index
        if self.divides_by == 'class weights':
            weighted = next(x for x in self._losses() if _divides_by(x) == 'class weights')
            weights = torch.as_tensor(weighted.class_weight, device=label.device)
            # Not label[valid], for whose size a GPU would have to be waited for. mmseg's loss that
            # counts ignored pixels as well cannot look up their weight, so there are none.
            weights = weights[label.where(valid, label.new_zeros(()))]
            return weights.where(valid, weights.new_zeros(())).sum()
        return {'pixels': label.numel(), 'valid pixels': valid.sum(), 'nothing': 1}[self.divides_by]


def _divides_by(loss: nn.Module) -> Optional[str]:
    """What a loss divides its sum over the pixels by; None for losses that have no such sum."""
    if isinstance(loss, _WITHOUT_PIXEL_WEIGHTS):
        return None
    if getattr(loss, 'reduction', 'mean') == 'sum':
        return 'nothing'
    if isinstance(loss, ClassWeightedCrossEntropyLoss):
        by_weights = loss.normalization == 'weights' and loss.class_weight is not None
        return 'class weights' if by_weights else 'valid pixels'
    if type(loss) is CrossEntropyLoss and loss.class_weight is not None and not loss.use_sigmoid:
        return 'class weights'
    return 'valid pixels' if getattr(loss, 'avg_non_ignore', False) else 'pixels'


# Losses over regions, and the one that selects for itself.
_WITHOUT_PIXEL_WEIGHTS = (BootstrappedCrossEntropyLoss, DiceLoss, HuasdorffDisstanceLoss,
                          LovaszLoss, TverskyLoss)


def _fit_weight(loss: nn.Module, args: Tuple, kwargs: Dict[str, Any]) -> Tuple[Tuple, dict]:
    """Give a loss the weights of the pixels in the form that it takes."""
    weight = kwargs.get('weight')
    if weight is not None:
        kwargs['weight'] = weight.flatten() if isinstance(loss, FocalLoss) else None
    return args, kwargs
