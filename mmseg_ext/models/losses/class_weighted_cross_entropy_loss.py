from typing import List, Optional, Sequence, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.models.losses.utils import get_class_weight
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops.grouped_cross_entropy import grouped_nll
from mmseg_ext.tools import tool_command


@MODELS.register_module()
class ClassWeightedCrossEntropyLoss(nn.Module):
    r"""Softmax cross entropy with class weights and a choice of what the sum is divided by.

    .. math:: L = \frac{1}{Z} \sum_{i\,valid} w_{y_i} \cdot (-\log p_{i, y_i})

    PyTorch divides a weighted loss by the sum of the weights of the valid pixels, Caffe, in which
    the LRN paper's networks were trained, by the number of valid pixels. The gradients
    differ by the mean weight, that is by an effective learning rate that changes from batch to
    batch. mmseg's ``CrossEntropyLoss`` cannot be used with class weights where there are ignored
    pixels (it looks up the weight of class 255).

    With ``per_image=True`` and inverse class frequencies this is the balanced loss of `Region-based
    semantic segmentation with end-to-end training <https://arxiv.org/abs/1607.07671>`_ (Sec. 3.4),
    whose weights sum to 1 over the labelled pixels of each image, and without weights its
    unbalanced one.

    Args:
        class_weight (list[float] | str, optional): Weight of each class, or a file that holds
            them, as in mmseg. Defaults to None: all 1.
        normalization (str): Z: ``'weights'`` is the sum of the valid pixels' class weights
            (PyTorch), ``'valid'`` their number (Caffe; ``'pixels'`` is an older name of it).
            Defaults to ``'weights'``.
        loss_weight (float): Factor of the loss. Defaults to 1.0.
        loss_name (str): Name in the log. Defaults to ``'loss_ce'``.
        per_image (bool): Divide the sum of each image by a Z of its own and take the mean of the
            images. Defaults to False: one sum and one Z for the batch.

    Raises:
        ValueError: If ``normalization`` is unknown.
        FileNotFoundError: If ``class_weight`` is a file that is not there.

    Note:
        Z is counted per process; with several GPUs the gradients of the processes are averaged, as
        everywhere in mmseg. A batch without a valid pixel gives 0 with a gradient graph.
    """

    def __init__(self,
                 class_weight: Optional[Union[List[float], str]] = None,
                 normalization: str = 'weights',
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_ce',
                 per_image: bool = False) -> None:
        super().__init__()
        normalization = 'valid' if normalization == 'pixels' else normalization
        if normalization not in ('weights', 'valid'):
            raise ValueError(f"normalization must be 'weights' or 'valid', got {normalization!r}.")
        try:
            class_weight = get_class_weight(class_weight)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no file of class weights '{class_weight}'; make it by: "
                + tool_command('class_frequencies.py', 'CONFIG', '--ignored', 'drop', '--only',
                               'inverse_frequency', '--out', class_weight)) from None
        self.register_buffer(
            'class_weight',
            None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32),
            persistent=False)
        self.normalization = normalization
        self.per_image = per_image
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    @property
    def divides_by(self) -> str:
        """What the sum over the pixels is divided by: ``'weights'`` or ``'valid'``."""
        return 'valid' if self.class_weight is None else self.normalization

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
            Tensor: A scalar, or (N, H, W) with ``reduction_override='none'``; float32 for half
            precision.

        Raises:
            ValueError: On a CPU, if a label is neither a class nor ``ignore_index``.
        """
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))  # sums are large
        class_weight = None if self.class_weight is None else self.class_weight.to(pred.dtype)
        reduction = reduction_override or 'mean'
        try:
            loss = F.cross_entropy(
                pred,
                target,
                weight=class_weight,
                ignore_index=ignore_index,
                # One pass without a map of losses, unless somebody needs the map.
                reduction='none' if reduction == 'none' or weight is not None or self.per_image
                else 'sum')
        except IndexError as error:  # on a CPU; a GPU says no more than that an assertion failed
            raise ValueError(
                f'The label maps hold a value that is neither one of the {pred.size(1)} classes, '
                f'0 to {pred.size(1) - 1}, nor {ignore_index}, ignored ({error}) Correct the files '
                'or num_classes.') from None
        if weight is not None:
            loss = loss * weight
        if reduction == 'none':
            return self.loss_weight * loss
        if reduction == 'mean' and avg_factor is None:
            loss, total = self._per_image(loss), self._normalizer(target, ignore_index)
            return self.loss_weight * _mean(loss, total.to(loss.dtype))
        loss = loss.sum()
        if reduction == 'mean':
            loss = loss / avg_factor
        return self.loss_weight * loss

    def forward_cells(self, log_p: Sequence[Tensor], label_counts: Sequence[Tensor]) -> Tensor:
        """Compute the loss of the pixels from groups of them that have the same scores.

        Args:
            log_p (Sequence[Tensor]): For each image, logarithms of the probabilities of its S
                cells, (S, C).
            label_counts (Sequence[Tensor]): For each image, how many pixels of a cell have each
                label, (S, C) int64.

        Returns:
            Tensor: A scalar.
        """
        if not self.per_image:
            log_p, label_counts = [torch.cat(list(log_p))], [torch.cat(list(label_counts))]
        loss, total = map(torch.stack, zip(*[
            grouped_nll(*image, self.class_weight) for image in zip(log_p, label_counts)]))
        if self.normalization == 'valid':
            total = torch.stack([counts.sum() for counts in label_counts])
        return self.loss_weight * _mean(loss, total)

    def _per_image(self, values: Tensor) -> Tensor:
        """Sum over each image, (N,), or over the batch, (1,)."""
        return values.flatten(1).sum(dim=1) if self.per_image else values.sum()[None]

    def _normalizer(self, target: Tensor, ignore_index: int) -> Tensor:
        """Z of each image, (N,), or of the batch, (1,)."""
        valid = target != ignore_index
        if self.divides_by == 'valid':
            return self._per_image(valid)
        weight = self.class_weight[target.where(valid, target.new_zeros(()))]
        return self._per_image(weight * valid)


def _mean(loss: Tensor, total: Tensor) -> Tensor:
    """Mean of sums divided by their Z; 0 where nothing counts."""
    return (loss / total.where(total > 0, torch.ones_like(total))).mean()
