from typing import List, Optional, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.models.losses.utils import get_class_weight
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops import bootstrapped_cross_entropy, select_hard_pixels
from mmseg_ext.ops.bootstrapped_cross_entropy import check_options

from .divisor import op_normalization


@MODELS.register_module()
class BootstrappedCrossEntropyLoss(nn.Module):
    r"""Softmax cross entropy of the pixels that are hard for the current model.

    .. math:: L = \frac{1}{Z} \sum_{i:\, p_{i, y_i} < t} w_{y_i} \cdot (-\log p_{i, y_i})

    Where fewer than ``min_kept`` pixels are below the threshold t, it rises until there are
    ``min_kept``. Source: Eq. 1 of `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_ (Wu, Shen, van den Hengel); the authors' code
    has t = 0.6 and at least 256 pixels in the batch of a device, their paper's best is 512. These
    count points of a grid with stride 8 (``FCRNHead(label_stride=8)``): 512 of the 3969 of a crop
    are 12.9 %, at full resolution 32,800 pixels of 504x504.

    Args:
        thresh (float, optional): t, in (0, 1]. Defaults to None: t is what ``min_kept`` makes it.
        min_kept (int, optional): Least number of kept pixels. Defaults to None. With neither of the
            two this is the plain mean.
        per_image (bool): Whether ``min_kept`` and Z count in each image, and the loss is the mean
            over the images. Defaults to False: over the batch of a process.
        class_weight (list[float] | str, optional): w, or a file that holds it, as in mmseg.
            Defaults to None: all 1. It has no part in the selection or in Z.
        normalization (str): Z: ``'kept'``, the number of kept pixels (Eq. 1), ``'valid'``, of all
            valid ones, or ``'all'``, of all pixels (mmseg's; ``'numel'`` is an older name of it).
            Defaults to ``'kept'``.
        loss_weight (float): Factor of the loss. Defaults to 1.0.
        loss_name (str): Name in the log. Defaults to ``'loss_bootstrapped_ce'``.

    Raises:
        ValueError: If an argument is out of its range.

    Note:
        Exactly ``min_kept`` pixels are kept under ties; all valid ones if there are fewer. Pixels
        are selected and counted per process; with several GPUs the gradients of the processes are
        averaged, as everywhere in mmseg. A batch without a valid pixel gives 0 with a gradient
        graph.
    """

    def __init__(self,
                 thresh: Optional[float] = None,
                 min_kept: Optional[int] = None,
                 per_image: bool = False,
                 class_weight: Optional[Union[List[float], str]] = None,
                 normalization: str = 'kept',
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_bootstrapped_ce') -> None:
        super().__init__()
        normalization = op_normalization(normalization)
        check_options(thresh, min_kept, normalization)
        class_weight = get_class_weight(class_weight)
        self.register_buffer(
            'class_weight',
            None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32),
            persistent=False)
        self.selection = dict(
            thresh=thresh, min_kept=min_kept, per_image=per_image, normalization=normalization)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    @property
    def divides_by(self) -> None:
        """None: the loss selects pixels for itself and takes no weights of a sampler."""

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
            weight (Tensor, optional): Factor of each pixel, (N, H, W). It has no part in the
                selection or in Z.
            avg_factor (float, optional): Z, if the caller knows better.
            reduction_override (str, optional): ``'none'`` for the loss of each pixel, 0 where it is
                not kept, ``'sum'``, or ``'mean'`` (default).
            ignore_index (int): Label of the pixels that do not count. Defaults to 255.
            kwargs: Ignored; other losses in the same head may need them.

        Returns:
            Tensor: A scalar, or (N, H, W) with ``reduction_override='none'``.
        """
        reduction = reduction_override or 'mean'
        if reduction == 'mean' and weight is None and avg_factor is None:
            return self.loss_weight * bootstrapped_cross_entropy(
                pred, target, class_weight=self.class_weight, ignore_index=ignore_index,
                **self.selection)

        hard = select_hard_pixels(pred, target, ignore_index=ignore_index, **self.selection)
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
        class_weight = None if self.class_weight is None else self.class_weight.to(pred.dtype)
        losses = F.cross_entropy(
            pred, target, weight=class_weight, ignore_index=ignore_index, reduction='none')
        losses = self.loss_weight * losses.where(hard.kept, losses.new_zeros(()))
        if weight is not None:
            losses = losses * weight
        if reduction == 'none':
            return losses
        if reduction == 'mean' and avg_factor is None:
            return (losses.flatten(1).sum(dim=1) * hard.scale.to(losses.dtype)).sum()
        return losses.sum() if reduction == 'sum' else losses.sum() / avg_factor
