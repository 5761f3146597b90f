from typing import List, Optional, Tuple, Union

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops import bootstrapped_cross_entropy, select_hard_pixels
from mmseg_ext.ops.bootstrapped_cross_entropy import check_options, cross_entropy

from .divisor import op_normalization
from .pixel_loss import PixelLoss


@MODELS.register_module()
class BootstrappedCrossEntropyLoss(PixelLoss):
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
        are selected and counted per process, see :class:`PixelLoss`. Weights that a caller gives
        have no part in the selection.
    """

    def __init__(self,
                 thresh: Optional[float] = None,
                 min_kept: Optional[int] = None,
                 per_image: bool = False,
                 class_weight: Optional[Union[List[float], str]] = None,
                 normalization: str = 'kept',
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_bootstrapped_ce') -> None:
        super().__init__(loss_weight, loss_name)
        normalization = op_normalization(normalization)
        check_options(thresh, min_kept, normalization)
        self.register_class_weight(class_weight)
        self.selection = dict(
            thresh=thresh, min_kept=min_kept, per_image=per_image, normalization=normalization)
    @property
    def divides_by(self) -> None:
        """None: the loss selects pixels for itself and takes no weights of a sampler."""

    def pixel_losses(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Give the weighted cross entropy of each pixel, (N, H, W), 0 where it is not kept."""
        return self._select(pred, target, ignore_index)[0]

    def mean(self, pred: Tensor, target: Tensor, weight: Optional[Tensor],
             ignore_index: int) -> Tensor:
        """Divide by Z, in one op where there are no further weights."""
        if weight is None:
            return bootstrapped_cross_entropy(
                pred, target, class_weight=self.class_weight, ignore_index=ignore_index,
                **self.selection)
        losses, scale = self._select(pred, target, ignore_index)
        return ((losses * weight).flatten(1).sum(dim=1) * scale.to(losses.dtype)).sum()

    def _select(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tuple[Tensor, Tensor]:
        """The losses of the kept pixels, (N, H, W), and 1 / Z of each image, (N,)."""
        kept, scale = select_hard_pixels(pred, target, ignore_index=ignore_index, **self.selection)
        losses = cross_entropy(pred, target, self.class_weight, ignore_index, 'none')
        return losses.where(kept, losses.new_zeros(())), scale
