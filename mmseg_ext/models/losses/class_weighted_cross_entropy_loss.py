from typing import List, Optional, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.models.losses.utils import get_class_weight
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class ClassWeightedCrossEntropyLoss(nn.Module):
    r"""Softmax cross entropy with class weights and a choice of what the sum is divided by.

    .. math:: L = \frac{1}{Z} \sum_{i\,valid} w_{y_i} \cdot (-\log p_{i, y_i})

    PyTorch divides a weighted loss by the sum of the weights of the valid pixels, Caffe, in which
    the LRN paper's networks were trained, by the number of valid pixels. The gradients
    differ by the mean weight, that is by an effective learning rate that changes from batch to
    batch. mmseg's ``CrossEntropyLoss`` cannot be used with class weights where there are ignored
    pixels (it looks up the weight of class 255).

    Args:
        class_weight (list[float] | str, optional): Weight of each class, or a file that holds
            them, as in mmseg. Defaults to None: all 1.
        normalization (str): Z: ``'weights'`` is the sum of the valid pixels' class weights
            (PyTorch), ``'pixels'`` their number (Caffe). Defaults to ``'weights'``.
        loss_weight (float): Factor of the loss. Defaults to 1.0.
        loss_name (str): Name in the log. Defaults to ``'loss_ce'``.

    Raises:
        ValueError: If ``normalization`` is unknown.

    Note:
        Z is counted per process; with several GPUs the gradients of the processes are averaged, as
        everywhere in mmseg. A batch without a valid pixel gives 0 with a gradient graph.
    """

    def __init__(self,
                 class_weight: Optional[Union[List[float], str]] = None,
                 normalization: str = 'weights',
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_ce') -> None:
        super().__init__()
        if normalization not in ('weights', 'pixels'):
            raise ValueError(
                f"normalization must be 'weights' or 'pixels', got {normalization!r}.")
        class_weight = get_class_weight(class_weight)
        self.register_buffer(
            'class_weight',
            None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32),
            persistent=False)
        self.normalization = normalization
        self.loss_weight = loss_weight
        self.loss_name = loss_name

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
            weight (Tensor, optional): Factor of each pixel, (N, H, W), such as a sampler's.
                Z does not depend on it.
            avg_factor (float, optional): Z, if the caller knows better.
            reduction_override (str, optional): ``'none'`` for the loss of each pixel, ``'sum'``, or
                ``'mean'`` (default).
            ignore_index (int): Label of the pixels that do not count. Defaults to 255.
            kwargs: Ignored; other losses in the same head may need them.

        Returns:
            Tensor: A scalar, or (N, H, W) with ``reduction_override='none'``.

        Raises:
            ValueError: On a CPU, if a label is neither a class nor ``ignore_index``.
        """
        class_weight = None if self.class_weight is None else self.class_weight.to(pred.dtype)
        reduction = reduction_override or 'mean'
        try:
            loss = F.cross_entropy(
                pred,
                target,
                weight=class_weight,
                ignore_index=ignore_index,
                # One pass without a map of losses, unless somebody needs the map.
                reduction='none' if reduction == 'none' or weight is not None else 'sum')
        except IndexError as error:  # on a CPU; a GPU says no more than that an assertion failed
            raise ValueError(
                f'The label maps hold a value that is neither one of the {pred.size(1)} classes, '
                f'0 to {pred.size(1) - 1}, nor {ignore_index}, ignored ({error}) Correct the files '
                'or num_classes.') from None
        if weight is not None:
            loss = loss * weight
        if reduction == 'none':
            return self.loss_weight * loss
        loss = loss.sum()
        if reduction == 'mean':
            if avg_factor is None:
                avg_factor = self._normalizer(target, ignore_index).to(loss.dtype)
            loss = loss / avg_factor
        return self.loss_weight * loss

    def _normalizer(self, target: Tensor, ignore_index: int) -> Tensor:
        """Z, or 1 where nothing counts."""
        valid = target != ignore_index
        if self.normalization == 'pixels' or self.class_weight is None:
            total = valid.sum()
        else:
            total = (self.class_weight[target.where(valid, target.new_zeros(()))] * valid).sum()
        return total.where(total > 0, torch.ones_like(total))
