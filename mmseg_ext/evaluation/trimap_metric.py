from typing import Dict, List, Sequence

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .confusion import check_classes, check_same_size, per_cent
from .label_map_metric import LabelMapMetric

NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)


@METRICS.register_module()
class TrimapMetric(LabelMapMetric):
    """mIoU, class and pixel accuracy near boundaries of the ground truth and away from them.

    The region paper (Caesar et al., ECCV 2016, Table 3) reports class accuracy within 4 pixels of
    a boundary, SEMEDA (Fig. 5) the mIoU within 1 to 10 pixels and outside of them. Numbers of the
    whole image are those of mmseg's ``IoUMetric``, to be listed beside this metric.

    A pixel is a boundary pixel if one of its 8 neighbours carries another label, so both sides of a
    boundary are boundary pixels: SEMEDA's semantic edges, E*. The band of width d is the pixels
    whose Euclidean distance to the nearest boundary pixel, between centres, is at most d; all
    others are outside. A boundary pixel has distance 0: the band of width 0 is E* itself, and a
    straight boundary has a band of d + 1 pixels on each side. Distances are measured on the label
    map as it is loaded: do not resize it. The region paper leaves the neighbours open, and both
    papers leave open how the distance is measured.

    Reported in per cent, for each width: ``trimap{d}_mIoU``, ``trimap{d}_mAcc``, ``trimap{d}_aAcc``
    of the band and ``outside{d}_mIoU``, ``outside{d}_mAcc``, ``outside{d}_aAcc``.

    Note:
        Pixels are counted in integers over the whole data set. A class without a true pixel in
        the counted part (in particular one that is absent from the test set) is left out of its
        means, also where it is predicted: ``IoUMetric`` would count it as IoU 0. A part without
        any pixel is NaN. Ignored pixels do not count.

    Args:
        widths (Sequence[int]): Widths d of the band in pixels, 0 or more, rising. One distance
            transform gives them all, so ten cost hardly more than one. Defaults to (4, ).
        boundary_to_ignored (bool): Whether a pixel beside an ignored one is a boundary pixel.
            Defaults to False: the border of an unlabelled area is mostly no border of an object.
            True where the annotators left a strip between objects unlabelled, as in PASCAL VOC:
            there hardly a pixel has a neighbour of another class.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        **kwargs: Arguments of mmengine's ``BaseMetric``: ``collect_device``, ``prefix``.

    Raises:
        ValueError: If the widths are no rising integers from 0 on.

    Examples:
        >>> val_evaluator = [dict(type='IoUMetric'),
        ...                  dict(type='TrimapMetric', widths=range(11))]
    """

    def __init__(self,
                 widths: Sequence[int] = (4, ),
                 boundary_to_ignored: bool = False,
                 ignore_index: int = 255,
                 **kwargs) -> None:
        super().__init__(ignore_index, **kwargs)
        try:
            self.widths = [int(width) for width in widths]
            valid = self.widths == list(widths) and self.widths[0] >= 0
        except (TypeError, ValueError, IndexError):
            valid = False
        if not valid or sorted(set(self.widths)) != self.widths:
            raise ValueError('widths must be rising integers, 0 or more, such as (0, 1, 3, 10), '
                             f'but {widths!r} was given.')
        self.boundary_to_ignored = boundary_to_ignored

    def measure(self, pred: Tensor, label: Tensor, num_classes: int) -> Tensor:
        """Count one image, see :meth:`calculate`."""
        return self.calculate(pred, label, self.widths, num_classes, self.ignore_index,
                              self.boundary_to_ignored)

    @staticmethod
    def calculate(pred: Tensor,
                  label: Tensor,
                  widths: Sequence[int],
                  num_classes: int,
                  ignore_index: int = 255,
                  boundary_to_ignored: bool = False) -> Tensor:
        """Count the pixels of an image, two label maps (H, W), by ring: what they are and what they
        were taken for.

        Ring 0 holds the pixels with distance <= widths[0] to the nearest boundary pixel, ring k
        those with widths[k-1] < distance <= widths[k], the last one those beyond all W widths:
        rings 0..k together are the band of widths[k].

        Returns (W + 1, 3, C) int64 on the CPU: in each ring and for each class the pixels that are
        it and were taken for it, that were taken for it, and that are it. Raises a ValueError if
        the sizes differ or a valid value is no class.
        """
        check_same_size(pred, label)
        valid = (label != ignore_index).cpu().numpy()
        pred, label = (np.where(valid, x.cpu().numpy(), 0) for x in (pred, label))
        check_classes(pred, label, num_classes, ignore_index)
        pred, label = pred.astype(np.uint16), label.astype(np.uint16)  # OpenCV takes no more bits
        boundary = _boundary(label, valid, boundary_to_ignored)
        # exact: the transforms with a mask of 3 or 5 are wrong by up to a few per cent
        distance = cv2.distanceTransform(
            (~boundary).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        ring = np.searchsorted(np.asarray(widths, dtype=distance.dtype), distance)
        entries = (ring * num_classes + label) * num_classes + pred
        num_rings = len(widths) + 1
        confusion = np.bincount(entries[valid], minlength=num_rings * num_classes**2)
        confusion = torch.from_numpy(confusion).view(num_rings, num_classes, num_classes)
        return torch.stack(
            [confusion.diagonal(dim1=1, dim2=2), confusion.sum(dim=1), confusion.sum(dim=2)], dim=1)

    def compute_metrics(self, results: List[Tensor]) -> Dict[str, float]:
        """Sum the rings of the images and print the table; the metrics are named in the description
        of the class, in per cent.
        """
        rings = torch.stack(results).sum(dim=0)
        bands = rings.cumsum(dim=0)
        metrics = {}
        names = ('mIoU', 'mAcc', 'aAcc')
        table = PrettyTable(['Width', *names, *(f'{name} outside' for name in names)])
        for width, band in zip(self.widths, bands):
            row = [width]
            for part, counts in (('trimap', band), ('outside', bands[-1] - band)):
                values = _means(counts)
                metrics.update({f'{part}{width}_{n}': v for n, v in zip(names, values)})
                row += values
            table.add_row(row)
        print_log(f'near boundaries and outside:\n{table}', MMLogger.get_current_instance())
        return metrics


def _boundary(label: np.ndarray, valid: np.ndarray, boundary_to_ignored: bool) -> np.ndarray:
    """Mask of the valid pixels among whose neighbours is another label, (H, W) bool.

    Around such a pixel the largest and the smallest label differ. Ignored pixels take part in
    neither extreme, or as one more label. The surroundings of the image take part in neither.
    """
    ignored = np.uint16(np.iinfo(np.uint16).max)
    low = np.where(valid, label, ignored)
    high = low if boundary_to_ignored else label
    return valid & (cv2.dilate(high, NEIGHBOURS) != cv2.erode(low, NEIGHBOURS))


def _means(counts: Tensor) -> List[float]:
    """mIoU, mAcc and aAcc in per cent of (3, C) counts; classes without true pixels left out."""
    hits, taken, true = counts[:, counts[2] > 0].double()
    values = (hits / (taken + true - hits)).mean(), (hits / true).mean(), hits.sum() / true.sum()
    return [per_cent(value) for value in values]
