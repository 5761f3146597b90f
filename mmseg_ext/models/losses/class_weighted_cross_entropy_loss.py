from typing import List, Optional, Sequence, Union

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops.bootstrapped_cross_entropy import cross_entropy
from mmseg_ext.ops.grouped_cross_entropy import grouped_nll

from .pixel_loss import PixelLoss


@MODELS.register_module()
class ClassWeightedCrossEntropyLoss(PixelLoss):
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
        Z is counted per process, see :class:`PixelLoss`.
    """

    def __init__(self,
                 class_weight: Optional[Union[List[float], str]] = None,
                 normalization: str = 'weights',
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_ce',
                 per_image: bool = False) -> None:
        super().__init__(loss_weight, loss_name)
        normalization = 'valid' if normalization == 'pixels' else normalization
        if normalization not in ('weights', 'valid'):
            raise ValueError(f"normalization must be 'weights' or 'valid', got {normalization!r}.")
        self.register_class_weight(class_weight)
        self.normalization = normalization
        self.per_image = per_image

    @property
    def divides_by(self) -> str:
        """What the sum over the pixels is divided by: ``'weights'`` or ``'valid'``."""
        return 'valid' if self.class_weight is None else self.normalization

    def pixel_losses(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Give the weighted cross entropy of each pixel, (N, H, W)."""
        return cross_entropy(pred, target, self.class_weight, ignore_index, 'none')

    def total(self, pred: Tensor, target: Tensor, weight: Optional[Tensor],
              ignore_index: int) -> Tensor:
        """Sum over the pixels; in one pass without a map of losses where the sum is one number."""
        if weight is not None or self.per_image:
            return super().total(pred, target, weight, ignore_index)
        return cross_entropy(pred, target, self.class_weight, ignore_index, 'sum')

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


def _mean(loss: Tensor, total: Tensor) -> Tensor:
    """Mean of sums divided by their Z; 0 where nothing counts."""
    return (loss / total.where(total > 0, torch.ones_like(total))).mean()
