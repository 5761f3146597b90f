import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops.checks import check_labels
from mmseg_ext.ops.sobel import sobel

from .pixel_loss import PixelLoss


@MODELS.register_module()
class SobelEdgeLoss(PixelLoss):
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
        ``avg_non_ignore=True`` to be so too. Valid pixels are counted per process, see
        :class:`PixelLoss`.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_sobel') -> None:
        super().__init__(loss_weight, loss_name)

    @property
    def divides_by(self) -> str:
        """What the sum over the pixels is divided by: the valid ones."""
        return 'valid'

    def pixel_losses(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Give the distance at each pixel, (N, H, W)."""
        valid = target != ignore_index
        label = target.where(valid, target.new_zeros(()))[:, None].long()
        check_labels(target, valid, pred.size(1), ignore_index)
        # before the softmax, whose gradient at an ignored NaN would be NaN
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
        pred = pred.masked_fill(~valid[:, None], 0)
        known = valid[:, None].to(pred.dtype)
        difference = (pred.softmax(dim=1) * known).scatter_add(1, label, -known)
        return sobel(difference).abs().mean(dim=1) * valid
