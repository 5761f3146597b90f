from typing import Optional

import torch
import torch.nn as nn
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops.semantic_edge_features import check_labels
from mmseg_ext.ops.sobel import sobel


@MODELS.register_module()
class SobelEdgeLoss(nn.Module):
    r"""Distance of prediction and ground truth after Sobel's kernels: the baseline of SEMEDA.

    .. math:: L = \lambda_1 \| \mathrm{Sobel}(\hat S) - \mathrm{Sobel}(S^*) \|_1
                = \lambda_1 \| \mathrm{Sobel}(\hat S - S^*) \|_1

    Two kernels for each class in place of ``SEMEDALoss``'s network. It comes beside a cross
    entropy, in the list ``loss_decode`` of any head. As the kernels are linear they are applied
    once, to the difference.

    Source: Sec. 4.1 and Table 1 of Chen, Dapogny, Cord, `SEMEDA: Enhancing Segmentation Precision
    with Semantic Edge Aware Loss <https://doi.org/10.1016/j.patcog.2020.107557>`_, 2020. The paper
    leaves the norm open. Ours is a mean over the 2 C responses and the valid pixels. Ignored
    pixels are 0 in both maps.

    Args:
        loss_weight (float): lambda_1; 4 is best in the paper. Defaults to 1.0.
        loss_name (str): Name in the log. Defaults to ``'loss_sobel'``.

    Note:
        The loss is divided by the valid pixels; mmseg's cross entropy beside it needs
        ``avg_non_ignore=True`` to be so too.

        Valid pixels are counted per process; with several GPUs the gradients of the processes are
        averaged, as everywhere in mmseg. A batch without a valid pixel gives 0 with a gradient
        graph.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_sobel') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    @property
    def divides_by(self) -> str:
        """What the sum over the pixels is divided by: the valid ones."""
        return 'valid'

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
                The number of valid pixels does not depend on it.
            avg_factor (float, optional): What the sum over the pixels is divided by, if the caller
                knows better.
            reduction_override (str, optional): ``'none'`` for the distance of each pixel,
                ``'sum'`` over them, or ``'mean'`` (default).
            ignore_index (int): Label of the pixels that do not count. Defaults to 255.
            kwargs: Ignored; other losses in the same head may need them.

        Returns:
            Tensor: A scalar, or (N, H, W) with ``reduction_override='none'``; float32 for half
            precision.

        Raises:
            ValueError: On a CPU, if a label is neither a class nor ``ignore_index``.
        """
        valid = target != ignore_index
        label = target.where(valid, target.new_zeros(()))[:, None].long()
        check_labels(target, valid, pred.size(1), ignore_index)
        # before the softmax, whose gradient at an ignored NaN would be NaN
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
        pred = pred.masked_fill(~valid[:, None], 0)
        known = valid[:, None].to(pred.dtype)
        difference = (pred.softmax(dim=1) * known).scatter_add(1, label, -known)
        distance = sobel(difference).abs().mean(dim=1) * valid
        if weight is not None:
            distance = distance * weight
        reduction = reduction_override or 'mean'
        if reduction == 'none':
            return self.loss_weight * distance
        distance = distance.sum()
        if reduction == 'mean':
            distance = distance / (valid.sum().clamp(min=1) if avg_factor is None else avg_factor)
        return self.loss_weight * distance
