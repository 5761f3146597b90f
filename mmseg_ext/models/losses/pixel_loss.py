from abc import ABCMeta, abstractmethod
from typing import List, Optional, Union

import torch
import torch.nn as nn
from mmseg.models.losses.utils import get_class_weight
from torch import Tensor

from mmseg_ext.ops.checks import check_ignore_index, check_logits_and_labels
from mmseg_ext.tools import tool_command

from .divisor import divisor

REDUCTIONS = (None, 'none', 'sum', 'mean')


class PixelLoss(nn.Module, metaclass=ABCMeta):
    """Base of the losses that are a sum over pixels, divided by a number of pixels.

    It knows the call of mmseg's heads, the reductions and the divisors. A subclass gives the loss
    of each pixel, and says in ``divides_by`` what the sum is divided by, one of
    :data:`mmseg_ext.models.losses.divisor.DIVISORS`. It overrides :meth:`total` or :meth:`mean`
    where it can do without the map of losses.

    Args:
        loss_weight (float): Factor of the loss.
        loss_name (str): Name in the log.

    Note:
        Pixels are counted per process; with several GPUs the gradients of the processes are
        averaged, as everywhere in mmseg. A batch without a valid pixel gives 0 with a gradient
        graph.
    """

    #: Whether the sum of each image has a divisor of its own, and the loss is the images' mean.
    per_image = False

    def __init__(self, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def register_class_weight(self, class_weight: Optional[Union[List[float], str]]) -> None:
        """Keep the weights of the classes as a buffer: they move with the model, unsaved.

        Args:
            class_weight (list[float] | str, optional): (C,), or a file that holds them, as in
                mmseg.

        Raises:
            FileNotFoundError: If it is a file that is not there.
        """
        try:
            class_weight = get_class_weight(class_weight)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no file of class weights '{class_weight}'; make it by: "
                + tool_command('class_frequencies.py', 'CONFIG', '--ignored', 'drop', '--only',
                               'inverse_frequency', '--out', class_weight)) from None
        if class_weight is not None:
            class_weight = torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', class_weight, persistent=False)

    @property
    @abstractmethod
    def divides_by(self) -> Optional[str]:
        """What the sum is divided by; None if the loss takes no weights of a sampler."""

    @abstractmethod
    def pixel_losses(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Give the loss of each pixel, (N, H, W), 0 where it does not count.

        The arguments are those of :meth:`forward`. ``loss_weight`` comes later.
        """

    def check(self, pred: Tensor, target: Tensor) -> None:
        """Raise a ValueError unless the loss can compare these."""
        check_logits_and_labels(pred, target, names=('pred', 'target'))

    def total(self, pred: Tensor, target: Tensor, weight: Optional[Tensor],
              ignore_index: int) -> Tensor:
        """Sum over the pixels of each image, (N,); without ``per_image`` a scalar does as well."""
        losses = self.pixel_losses(pred, target, ignore_index)
        return (losses if weight is None else losses * weight).flatten(1).sum(dim=1)

    def mean(self, pred: Tensor, target: Tensor, weight: Optional[Tensor],
             ignore_index: int) -> Tensor:
        """Divide the total by its divisor."""
        total = self.total(pred, target, weight, ignore_index)
        count = divisor(self, target, weight, ignore_index)
        scale = torch.where(count > 0, count, torch.inf).reciprocal()
        # the divisors of the images are equal without per_image
        return (total * (scale if total.ndim else scale[:1]).to(total.dtype)).sum()

    def forward(self,
                pred: Tensor,
                target: Tensor,
                weight: Optional[Tensor] = None,
                avg_factor: Optional[float] = None,
                reduction_override: Optional[str] = None,
                ignore_index: int = 255,
                **kwargs) -> Tensor:
        """Compute the loss.

        Args:
            pred (Tensor): Logits, (N, C, H, W).
            target (Tensor): Labels, (N, H, W).
            weight (Tensor, optional): Factor of each pixel, (N, H, W), such as a sampler's. The
                divisor does not depend on it.
            avg_factor (float, optional): Divisor, if the caller knows better.
            reduction_override (str, optional): ``'none'`` for the loss of each pixel, ``'sum'``
                over them, or ``'mean'`` (default): the sum over its divisor.
            ignore_index (int): Label of the pixels that do not count. Defaults to 255.
            kwargs: Ignored; other losses in the same head may need them.

        Returns:
            Tensor: A scalar, or (N, H, W) with ``reduction_override='none'``; float32 for half
            precision.

        Raises:
            ValueError: If shapes or types do not fit, an option is unknown or, on a CPU, a label is
                neither a class nor ``ignore_index`` (a GPU asserts).
        """
        self.check(pred, target)
        ignore_index = check_ignore_index(ignore_index)
        if reduction_override not in REDUCTIONS:
            raise ValueError(f'reduction_override must be one of {REDUCTIONS}, got '
                             f'{reduction_override!r}.')
        if reduction_override == 'none':
            loss = self.pixel_losses(pred, target, ignore_index)
            loss = loss if weight is None else loss * weight
        elif reduction_override == 'sum':
            loss = self.total(pred, target, weight, ignore_index).sum()
        elif avg_factor is not None:
            loss = self.total(pred, target, weight, ignore_index).sum() / avg_factor
        else:
            loss = self.mean(pred, target, weight, ignore_index)
        return self.loss_weight * loss
