from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .coco_instances import coco_entries, coco_masks, write_entries
from .confusion import check_classes, check_same_size, per_cent

PROTOCOLS = ('sds', 'mnc')
#: Their mean is the volume.
VOLUME = tuple(k / 10 for k in range(1, 10))
#: Of one image: labels (D,), scores (D,) and hits (D, T) of the detections, instances (C,).
Matched = Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@METRICS.register_module()
class RegionAPMetric(BaseMetric):
    """Mean region average precision, mAP^r: average precision of masks, at overlaps and their mean.

    Table 6 of `Bridging Category-level and Instance-level Semantic Image Segmentation
    <https://arxiv.org/abs/1605.06885>`_. Its rows, taken from several papers, follow two protocols:

    - ``'sds'`` (`Simultaneous Detection and Segmentation <https://arxiv.org/abs/1407.1808>`_): a
      detection is a hit if its IoU with the instance that it is matched with is **above** the
      threshold; it is matched with the best one **that is not taken yet**. Average precision is
      the area under the precision, made monotone.
    - ``'mnc'`` (`Instance-aware Semantic Segmentation via Multi-task Network Cascades
      <https://arxiv.org/abs/1512.04412>`_): the IoU is **at least** the threshold; a detection is
      matched with the best instance, **taken or not**, so a second match is a false alarm. Average
      precision is the mean of the monotone precision at the recalls 0, 0.1, ..., 1.

    In both, the detections of an image are matched from the highest score to the lowest, with
    instances of their class, and the detections of a class are pooled over the images.

    Reported in per cent: ``mAPr_{t}`` for each threshold, such as ``mAPr_50`` for 0.5, and
    ``mAPr_vol``, the mean over the thresholds 0.1, 0.2, ..., 0.9. The table in the log has the
    values of each class and the number of its instances.

    Needs in each sample ``pred_instances`` with ``masks`` (D, H, W) bool, ``labels`` (D,), classes
    of the data set, and ``scores`` (D,); ``gt_instances`` (1, H, W), 0 where there is no instance;
    and ``gt_sem_seg`` (1, H, W). The class of an instance is its most frequent label.

    Note:
        A class without an instance in the whole data set is left out of the mean and of the table,
        also where it is predicted. Label 0 is the background: where it is the most frequent one,
        or no pixel is valid, there is no instance. Ignored pixels count neither for masks nor for
        instances. SBD, which the papers use, has no ignored pixel.

        The papers leave open what happens to equal scores. Here they enter the curve together, so
        the order of the images is of no account; in one image the first is matched first. Of
        instances with the same IoU the one with the lower number is matched.

    Args:
        protocol (str): ``'sds'`` or ``'mnc'``. Defaults to ``'sds'``.
        thresholds (Sequence[float]): IoUs above 0 and up to 1, rising. Defaults to (0.5, 0.7).
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        coco_file (str, optional): JSON file to write the detections of all images to, as COCO has
            them; needs the package pycocotools. Defaults to None: no file.
        **kwargs: Arguments of mmengine's ``BaseMetric``: ``collect_device``, ``prefix``.

    Raises:
        ValueError: If the protocol is unknown or the thresholds are not rising numbers.
        ImportError: If there is a ``coco_file`` and no pycocotools.

    Examples:
        >>> val_evaluator = [dict(type='IoUMetric'), dict(type='RegionAPMetric', protocol='sds'),
        ...                  dict(type='RegionAPMetric', protocol='mnc', prefix='mnc')]
    """

    def __init__(self,
                 protocol: str = 'sds',
                 thresholds: Sequence[float] = (0.5, 0.7),
                 ignore_index: int = 255,
                 coco_file: Optional[str] = None,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol must be 'sds' or 'mnc', got {protocol!r}.")
        try:
            self.thresholds = tuple(float(t) for t in thresholds)
        except (TypeError, ValueError):
            self.thresholds = (0., )
        if sorted({t for t in self.thresholds if 0 < t <= 1}) != list(self.thresholds):
            raise ValueError('thresholds must be rising numbers above 0 and up to 1, such as '
                             f'(0.5, 0.7), but {thresholds!r} was given.')
        self.protocol = protocol
        self.ignore_index = ignore_index
        self.coco_file = coco_file
        if coco_file is not None:
            coco_masks()  # missing: now, and not after the first image

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Match the detections of a batch."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            for name in ('pred_instances', 'gt_instances', 'gt_sem_seg'):
                if name not in sample:
                    raise ValueError(
                        f'RegionAPMetric found no {name} in a sample, only {sorted(sample)}: it '
                        'needs a model that predicts instances, and a test pipeline that loads '
                        'and packs the instances and the labels of the data set.')
            found = sample['pred_instances']
            matched = self.calculate(
                found['masks'], found['labels'], found['scores'],
                sample['gt_instances']['data'].squeeze(0), sample['gt_sem_seg']['data'].squeeze(0),
                num_classes, self.thresholds + VOLUME, self.protocol, self.ignore_index)
            if self.coco_file is not None:
                matched += (coco_entries(
                    sample['img_path'], found['masks'], found['labels'], found['scores']), )
            self.results.append(matched)

    @staticmethod
    def calculate(masks: Tensor,
                  labels: Tensor,
                  scores: Tensor,
                  instances: Tensor,
                  label_map: Tensor,
                  num_classes: int,
                  thresholds: Sequence[float],
                  protocol: str = 'sds',
                  ignore_index: int = 255) -> Matched:
        """Match the detections of an image with its instances.

        Args:
            masks (Tensor): (D, H, W) bool.
            labels (Tensor): (D,), classes of the detections.
            scores (Tensor): (D,).
            instances (Tensor): (H, W), numbers of the instances, 0 elsewhere.
            label_map (Tensor): (H, W).
            num_classes (int): Classes of the data set, C.
            thresholds (Sequence[float]): IoUs.
            protocol (str): ``'sds'`` or ``'mnc'``. Defaults to ``'sds'``.
            ignore_index (int): Label of the pixels that do not count. Defaults to 255.

        Returns:
            tuple[np.ndarray, ...]: Labels (D,) int64, scores (D,) float64 and, whether each
            detection is a hit at each threshold, (D, T) bool; and how many instances of each class
            the image has, (C,) int64.

        Raises:
            ValueError: If shapes or types do not fit, or a label, a score or the number of an
                instance is wrong.
        """
        _check_shapes(masks, labels, scores, instances, label_map)
        # on a CPU numpy finds and counts pixels several times as fast as PyTorch
        masks, labels, scores, instances, label_map = (
            x.cpu().numpy() for x in (masks, labels.long(), scores.double(), instances.long(),
                                      label_map.long()))
        valid = label_map != ignore_index
        _check_values(labels, scores, instances, label_map[valid], num_classes, ignore_index)
        overlaps, classes = instance_overlaps(
            masks & valid, np.where(valid, instances, 0), label_map, num_classes)
        overlaps = np.where(labels[:, None] == classes, overlaps, -1.)
        hits = match(overlaps, scores, thresholds, protocol)
        return labels, scores, hits, np.bincount(classes, minlength=num_classes)

    def compute_metrics(self, results: List[Matched]) -> Dict[str, float]:
        """Pool what :meth:`calculate` gave of each image, and print the table.

        ``mAPr_{t}`` and ``mAPr_vol`` are in per cent, NaN if there is no instance.
        """
        if self.coco_file is not None:
            write_entries(self.coco_file, [entry for *_, entries in results for entry in entries])
            results = [matched[:4] for matched in results]
        *detections, instances = zip(*results)
        labels, scores, hits = map(np.concatenate, detections)
        instances = np.sum(instances, axis=0)
        names = [f'mAPr_{100 * t:g}' for t in self.thresholds] + ['mAPr_vol']
        table = PrettyTable(['Class', *(name[1:] for name in names), 'Instances'])
        rows = []
        for c in np.flatnonzero(instances):
            of_class = average_precision(scores[labels == c], hits[labels == c], instances[c],
                                         self.protocol)
            count = len(self.thresholds)
            rows.append([*of_class[:count], of_class[count:].mean()])
            table.add_row([self.dataset_meta['classes'][c], *map(per_cent, rows[-1]),
                           instances[c]])
        print_log(f"per class results, protocol '{self.protocol}':\n{table}",
                  MMLogger.get_current_instance())
        means = np.mean(rows, axis=0) if rows else np.full(len(names), np.nan)
        return dict(zip(names, map(per_cent, means)))


def instance_overlaps(masks: np.ndarray, instances: np.ndarray, label_map: np.ndarray,
                      num_classes: int) -> Tuple[np.ndarray, np.ndarray]:
    """IoU of masks and instances, and the classes of the instances.

    Args:
        masks (np.ndarray): (D, H, W) bool.
        instances (np.ndarray): (H, W) int64, numbers of the instances, 0 elsewhere.
        label_map (np.ndarray): (H, W) int64, classes where there is an instance.
        num_classes (int): Classes of the data set.

    Returns:
        tuple[np.ndarray, np.ndarray]: (D, G) float64, and of each of the G instances, by rising
        number, the most frequent label, (G,) int64. Those of label 0 are left out.
    """
    if instances.max(initial=0) > instances.size:  # a table of all numbers would be too long
        instances = np.searchsorted(np.unique(np.append(instances, 0)), instances)
    size = instances.max(initial=0) + 1
    inside = instances > 0
    votes = np.bincount(instances[inside] * num_classes + label_map[inside],
                        minlength=size * num_classes).reshape(size, num_classes)
    shared = [np.bincount(instances[mask], minlength=size) for mask in masks]
    shared = np.array(shared, dtype=np.int64).reshape(len(masks), size)
    unions = shared.sum(axis=1, keepdims=True) + votes.sum(axis=1) - shared
    classes = votes.argmax(axis=1)
    there = classes > 0
    return (shared / np.maximum(unions, 1))[:, there], classes[there]


def match(overlaps: np.ndarray, scores: np.ndarray, thresholds: Sequence[float],
          protocol: str) -> np.ndarray:
    """Say which detections of an image are hits, at each threshold.

    Args:
        overlaps (np.ndarray): (D, G), IoU of detections and instances; -1 for another class.
        scores (np.ndarray): (D,).
        thresholds (Sequence[float]): T IoUs.
        protocol (str): ``'sds'`` or ``'mnc'``.

    Returns:
        np.ndarray: (D, T) bool.
    """
    thresholds = np.asarray(thresholds)
    hits = np.zeros((len(overlaps), len(thresholds)), dtype=bool)
    if overlaps.shape[1] == 0:
        return hits
    taken = np.zeros((len(thresholds), overlaps.shape[1]), dtype=bool)
    rows = np.arange(len(thresholds))
    for d in np.argsort(-scores, kind='stable'):
        free = np.where(taken, -1., overlaps[d])  # (T, G)
        if protocol == 'sds':
            best = free.argmax(axis=1)
            hits[d] = free[rows, best] > thresholds
        else:
            best = np.full(len(rows), overlaps[d].argmax())
            hits[d] = free[rows, best] >= thresholds
        taken[rows, best] |= hits[d]
    return hits


def average_precision(scores: np.ndarray, hits: np.ndarray, instances: int,
                      protocol: str) -> np.ndarray:
    """Average precision of a class, from its detections in all images.

    Args:
        scores (np.ndarray): (D,). Equal ones enter the curve together.
        hits (np.ndarray): (D, T) bool, in any order.
        instances (int): Instances of the class, at least 1.
        protocol (str): ``'sds'`` or ``'mnc'``.

    Returns:
        np.ndarray: (T,) float64, 0 to 1.
    """
    order = np.argsort(-scores, kind='stable')
    falling = scores[order]
    last = np.append(falling[1:] != falling[:-1], True)[:len(order)]  # of equal scores
    found = hits[order].cumsum(axis=0)[last]
    precision = found / (np.flatnonzero(last) + 1)[:, None]
    # the highest precision at this recall or a higher one
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    if protocol == 'sds':
        steps = np.diff(found, axis=0, prepend=0) / instances
        return (steps * precision).sum(axis=0)
    # in integers: recall >= k / 10, without rounding
    reached = 10 * found[None] >= np.arange(11)[:, None, None] * instances
    return np.where(reached, precision, 0).max(axis=1, initial=0).mean(axis=0)


def _check_shapes(masks: Tensor, labels: Tensor, scores: Tensor, instances: Tensor,
                  label_map: Tensor) -> None:
    """Raise a ValueError where shapes or types are wrong, as ``RegionAPMetric.calculate`` has them.
    """
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise ValueError(f'masks must be bool (D, H, W), got {masks.dtype} {tuple(masks.shape)}.')
    if not labels.shape == scores.shape == masks.shape[:1]:
        raise ValueError(f'There are {len(masks)} masks, so labels and scores must be '
                         f'({len(masks)},), got {tuple(labels.shape)} and {tuple(scores.shape)}.')
    check_same_size(masks.new_empty(masks.shape[1:]), label_map)
    if instances.shape != label_map.shape:
        raise ValueError(f'The map of the instances has the shape {tuple(instances.shape)}, the '
                         f'label map {tuple(label_map.shape)}: a transform has moved only one.')


def _check_values(labels: np.ndarray, scores: np.ndarray, instances: np.ndarray,
                  valid_labels: np.ndarray, num_classes: int, ignore_index: int) -> None:
    check_classes(labels, valid_labels, num_classes, ignore_index)
    if np.isnan(scores).any():
        raise ValueError('A score is NaN, so the detections have no order: the model diverged.')
    if instances.min(initial=0) < 0:
        raise ValueError(f'The map of the instances holds {instances.min()}: instances are 1 and '
                         'above, other pixels 0.')
