from typing import Dict, List

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .confusion import confusion_matrix, per_cent
from .label_map_metric import LabelMapMetric

# MATLAB's eps, with which the published code guards its denominators
EPS = float(np.finfo(np.float64).eps)


@METRICS.register_module()
class EMeasureMetric(LabelMapMetric):
    """Enhanced-alignment measure of each class's binary map: mean over images, then classes.

    The third measure of SEMEDA's Tables 2 and 3, after mIoU and F1. It compares the map of a class
    in one image, 1 where the class is, with the predicted map, each less its own mean (Fan et al.,
    IJCAI 2018; :func:`e_measure` has the formula). Equal to the published MATLAB code.

    Reported in per cent: ``mE``. The table in the log has the value of each class and the number
    of images it is the mean of.

    Note:
        An image counts for the classes that have a true pixel in it. The paper leaves that open,
        but its values (VOC, bottle: 69.6) rule out that every image counts: one without the class
        scores 1 where none is predicted. Where a class is only predicted, the definition gives 1
        minus the share of those pixels: a small false alarm would raise the mean.

        A class that counts in no image is left out of the mean. The background is a class like
        others, as in Table 2: its means are higher than the means of the 20 classes that it lists.
        Ignored pixels are in neither map, nor among the pixels of the image. The published code
        divides by the number of pixels less one, so a perfect map of N pixels scores N / (N - 1),
        in an image of usual size 100.00 per cent; an image of fewer than two counted pixels
        counts for no class.

        Measured in each image at the size of its label map: neither crop nor resize it.

    Args:
        count_false_alarms (bool): Whether an image counts for a class that is predicted in it
            and not true. The paper leaves it open. Defaults to False.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        **kwargs: Arguments of mmengine's ``BaseMetric``: ``collect_device``, ``prefix``.

    Examples:
        >>> # 'mDice' is F1; 'mFscore' leaves a class that is never hit out of the mean
        >>> val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice']),
        ...                  dict(type='EMeasureMetric')]
    """

    def __init__(self,
                 count_false_alarms: bool = False,
                 ignore_index: int = 255,
                 **kwargs) -> None:
        super().__init__(ignore_index, **kwargs)
        self.count_false_alarms = count_false_alarms

    def measure(self, pred: Tensor, label: Tensor, num_classes: int) -> Tensor:
        """Measure one image, see :meth:`calculate`."""
        return self.calculate(pred, label, num_classes, self.ignore_index, self.count_false_alarms)

    @staticmethod
    def calculate(pred: Tensor,
                  label: Tensor,
                  num_classes: int,
                  ignore_index: int = 255,
                  count_false_alarms: bool = False) -> Tensor:
        """Measure each class in one image, two label maps (H, W): (C,) float64 on the CPU, 0 to N /
        (N - 1).

        NaN stands for a class for which the image does not count. Raises a ValueError if the sizes
        differ or a valid value is no class.
        """
        confusion = confusion_matrix(pred, label, num_classes, ignore_index)
        taken, true = confusion.sum(dim=0), confusion.sum(dim=1)
        counted = (true > 0) | (taken > 0) if count_false_alarms else true > 0
        scores = e_measure(torch.stack([confusion.diagonal(), taken, true]))
        return scores.masked_fill(~counted, float('nan'))

    def compute_metrics(self, results: List[Tensor]) -> Dict[str, float]:
        """Average what :meth:`calculate` gave of each image, and print the table.

        ``mE`` is in per cent, NaN if no image counts for any class.
        """
        scores = torch.stack(results)
        of_class = scores.nanmean(dim=0)
        table = PrettyTable(['Class', 'E-measure', 'Images'])
        for name, score, images in zip(self.dataset_meta['classes'], of_class,
                                       (~scores.isnan()).sum(dim=0)):
            table.add_row([name, per_cent(score), int(images)])
        print_log(f'per class results:\n{table}', MMLogger.get_current_instance())
        return dict(mE=per_cent(of_class.nanmean()))


def e_measure(counts: Tensor) -> Tensor:
    r"""Enhanced-alignment measure of binary maps, from the counts of their pixels.

    With truth :math:`G`, prediction :math:`F` and their means :math:`\mu_G`, :math:`\mu_F` over
    the N pixels of the image (Fan et al., IJCAI 2018):

    .. math::
        E = \frac{1}{N - 1} \sum_x \frac{(1 + \xi_x)^2}{4}, \qquad
        \xi_x = \frac{2 (G_x - \mu_G) (F_x - \mu_F)}{(G_x - \mu_G)^2 + (F_x - \mu_F)^2}

    A truth of zeros has the sum of :math:`1 - F_x` instead, one of ones that of :math:`F_x`. As
    the maps are binary, :math:`\xi_x` has one value for the hits, one for the false alarms, one for
    the misses and one for all other pixels: the four counts give the sum, and no map is needed.

    Args:
        counts (Tensor): (..., 3, C) integers: of each class the pixels that are it and were taken
            for it, that were taken for it, and that are it. Every pixel of an image has one true
            class: the last row sums to N.

    Returns:
        Tensor: (..., C) float64, NaN where N is below 2.

    Note:
        This is the published code, which also adds EPS to both denominators. The paper divides by
        N.
    """
    hits, taken, true = counts.double().unbind(dim=-2)
    total = true.sum(dim=-1, keepdim=True)
    quadrants = ((1, 1, hits), (0, 1, taken - hits), (1, 0, true - hits),
                 (0, 0, total - taken - true + hits))
    enhanced = torch.zeros_like(hits)
    for is_true, is_taken, pixels in quadrants:
        truth, prediction = is_true - true / total, is_taken - taken / total
        alignment = 2 * truth * prediction / (truth**2 + prediction**2 + EPS)
        enhanced += pixels * (alignment + 1)**2 / 4
    # a truth of one value has no deviation to align with
    enhanced = torch.where(true == 0, total - taken, enhanced)
    enhanced = torch.where(true == total, taken, enhanced)
    return (enhanced / (total - 1 + EPS)).masked_fill(total < 2, float('nan'))
