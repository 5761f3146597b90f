import inspect
from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn as nn
from mmseg.models.losses import FocalLoss
from mmseg.registry import TASK_UTILS
from mmseg.structures.sampler import BasePixelSampler
from torch import Tensor

from mmseg_ext.models.losses.divisor import divides_by, divisor, op_normalization
from mmseg_ext.models.losses.head_losses import losses_of
from mmseg_ext.ops import hard_pixel_mask, select_hard_pixels
from mmseg_ext.ops.bootstrapped_cross_entropy import HardPixels, check_options, normalizers


@TASK_UTILS.register_module()
class BootstrapPixelSampler(BasePixelSampler):
    """Online bootstrapping for any loss with pixel weights: a drop-in for ``OHEMPixelSampler``.

    Keeps the pixels that are hard for the current model (Eq. 1 of `Bridging Category-level and
    Instance-level Semantic Image Segmentation <https://arxiv.org/abs/1605.06885>`_) and gives them
    weights that carry Eq. 1's normalization: each loss of the head ends up divided by the number of
    kept pixels and not by its own divisor (all pixels, in mmseg's cross entropy). Three more
    differences from mmseg's sampler: ``min_kept`` counts in the batch (mmseg multiplies it by the
    batch size) or in each image; exactly ``min_kept`` pixels are kept under ties; all are kept
    where there are fewer.

    For cross entropy alone, ``BootstrappedCrossEntropyLoss`` does the same in less time.

    Args:
        context (nn.Module): The head, whose losses and ``ignore_index`` are read. mmseg gives it.
        thresh (float, optional): Pixels whose label has a probability below are kept, in (0, 1].
            Defaults to None.
        min_kept (int, optional): Least number of kept pixels. Defaults to None.
        per_image (bool): Whether ``min_kept`` and the normalization count in each image instead of
            the batch of a process. Defaults to False.
        normalization (str): What the losses end up divided by: the number of ``'kept'`` pixels
            (Eq. 1), of ``'valid'`` ones or of ``'all'`` (``'numel'`` is an older name of it).
            Defaults to ``'kept'``.
        difficulty (str): What makes a pixel hard: a low ``'probability'`` of its label by softmax
            (Eq. 1), or a high ``'loss'``, the sum of the head's own losses, for losses that have a
            value for each pixel; there is no threshold then. Defaults to ``'probability'``.

    Raises:
        ValueError: If an argument is out of its range, a loss of the head takes no weights, or its
            ``divides_by`` is unknown.

    Note:
        Losses over regions (``DiceLoss``, ``LovaszLoss``, ``TverskyLoss`` ...) have no pixels to
        weigh and see all of them; ``BootstrappedCrossEntropyLoss`` selects for itself.

        The map of :meth:`sample` suits a loss that divides by all pixels. For any other loss of the
        head it is multiplied by this loss's divisor over the number of all pixels. A loss of your
        own derives from :class:`PixelLoss`, or has an attribute ``divides_by``: ``'kept'``,
        ``'valid'``, ``'all'``, ``'weights'`` (of ``class_weight``), ``'images'``, ``'nothing'``, or
        None if it takes no weights; and ``per_image=True`` if it divides in each image and takes
        the mean of the images. Without the attribute, the arguments of a loss are read as those
        of mmseg's ``CrossEntropyLoss``.

        A head with one logit (``out_channels=1``) has the probability of its sigmoid.

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
        normalization = op_normalization(normalization)
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
        for loss in losses_of(self.context):
            _fit_weights_to(loss)

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor:
        """Weigh the pixels of a batch.

        Args:
            seg_logit (Tensor): (N, C, H, W).
            seg_label (Tensor): (N, 1, H, W).

        Returns:
            Tensor: Weights for a loss that divides by all pixels, (N, H, W) float32: 0 where a
            pixel is not kept.
        """
        label = seg_label.squeeze(1)
        with torch.no_grad():
            if self.difficulty == 'probability':
                if seg_logit.size(1) == 1:  # softmax of (0, x) is the sigmoid of x
                    seg_logit = torch.cat([torch.zeros_like(seg_logit), seg_logit], dim=1)
                hard = select_hard_pixels(
                    seg_logit, label, ignore_index=self.context.ignore_index, **self.selection)
            else:
                hard = self._hard_by_loss(seg_logit, label)
            scale = hard.scale * label.numel()
            return hard.kept * scale.float()[:, None, None]

    def _hard_by_loss(self, logits: Tensor, label: Tensor) -> HardPixels:
        total = torch.zeros_like(label, dtype=torch.float32)
        found = False
        for loss in losses_of(self.context):
            losses = loss(logits, label, ignore_index=self.context.ignore_index,
                          reduction_override='none')
            if losses.ndim == 4:  # a value for each class, as in binary cross entropy
                losses = losses.sum(dim=1)
            if losses.shape == label.shape:
                total, found = total + losses, True
        if not found:
            names = [type(loss).__name__ for loss in losses_of(self.context)]
            raise ValueError("difficulty='loss' needs a loss with a value for each pixel and the "
                             f"head has {names}: use difficulty='probability'.")
        valid = label != self.context.ignore_index
        options = dict(self.selection)
        normalization = options.pop('normalization')
        kept = hard_pixel_mask(total, valid, **options)
        scale = normalizers(label, kept.flatten(1).sum(dim=1), valid.flatten(1).sum(dim=1),
                            options['per_image'], normalization)
        return HardPixels(kept, scale)


def _fit_weights_to(loss: nn.Module) -> None:
    """Let a loss get the weights of a sampler in the form and of the size that suit it, once."""
    arguments = inspect.signature(loss.forward).parameters.values()
    if not any(x.name == 'weight' or x.kind is x.VAR_KEYWORD for x in arguments):
        raise ValueError(f'{type(loss).__name__} cannot be combined with BootstrapPixelSampler: it '
                         'has no argument `weight` for the weights of the pixels.')
    suited = divides_by(loss) == 'all' and not isinstance(loss, FocalLoss)
    if not suited and not getattr(loss, '_has_fitted_weights', False):
        loss.register_forward_pre_hook(_fit_weight, with_kwargs=True)
        loss._has_fitted_weights = True


def _fit_weight(loss: nn.Module, args: Tuple, kwargs: Dict[str, Any]) -> Tuple[Tuple, dict]:
    """Turn weights for a loss that divides by all pixels into weights for this one."""
    weight = kwargs.get('weight')
    if weight is None:
        return args, kwargs
    kind = divides_by(loss)
    if kind is None:
        weight = None
    elif kind != 'all':
        total = divisor(loss, args[1], weight, kwargs.get('ignore_index', 255))
        weight = weight * (total / max(weight.numel(), 1)).to(weight.dtype)[:, None, None]
    if isinstance(loss, FocalLoss):
        weight = weight.flatten()
    return args, dict(kwargs, weight=weight)
