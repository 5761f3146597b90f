"""Benchmark cases of the metrics that are of no single paper: counting an image."""
from typing import List

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from .case import Case, benchmark, sizes

CLASSES = tuple(f'class {i}' for i in range(19))
WIDTHS = range(1, 11)
IGNORED = 255


@benchmark('TrimapMetric')
def trimap_metric(device: str, small: bool = False) -> Case:
    """Ten bands and what is outside of each, against mmseg's metric once and for each band.

    Once, on the whole image, it counts a tenth of that: what an evaluation costs without bands.
    For each band it is given a label map that is ignored outside of it, all from one distance
    transform; the counts of the bands must agree.
    """
    height, width = size = (32, 64) if small else (512, 1024)
    # blocks, so that there are pixels beyond the widest band
    side = height // 8
    rng = np.random.default_rng(0)
    label = rng.integers(len(CLASSES), size=(8, width // side)).repeat(side, 0).repeat(side, 1)
    pred = np.roll(label, 3, axis=1)
    label[:side] = IGNORED
    label, pred = (torch.from_numpy(x).to(device) for x in (label, pred))
    sample = dict(gt_sem_seg=dict(data=label[None]), pred_sem_seg=dict(data=pred[None]))
    metrics = {
        'ours: ten widths, inside and outside': METRICS.build(
            dict(type='TrimapMetric', widths=WIDTHS)),
        'mmseg: IoUMetric, whole image': METRICS.build(dict(type='IoUMetric')),
    }

    def counting(metric):
        metric.dataset_meta = dict(classes=CLASSES)

        def run() -> list:
            metric.results.clear()
            metric.process({}, [sample])
            return list(metric.results)

        return run

    runs = {name: counting(metric) for name, metric in metrics.items()}
    runs['mmseg: IoUMetric, for each band'] = lambda: _each_band(pred, label)

    def parity() -> None:
        (rings, ), _, bands = (run() for run in runs.values())
        for ours, (intersection, _, of_pred, of_label) in zip(rings.cumsum(dim=0), bands):
            assert torch.equal(ours, torch.stack([intersection, of_pred, of_label]).long())

    return Case(
        inputs=f'label map of {sizes(size)}, {len(CLASSES)} classes, widths 1 to 10',
        phase='counting',
        runs=runs,
        parity=parity)


def _each_band(pred: Tensor, label: Tensor) -> List[tuple]:
    """What mmseg's metric counts in each band of WIDTHS."""
    known = label != IGNORED
    # the largest label around each pixel and, negative, the smallest
    high, low = (
        F.max_pool2d(x.masked_fill(~known, -IGNORED).float()[None], 3, stride=1, padding=1)[0]
        for x in (label, -label))
    boundary = known & (high != -low)
    distance = torch.from_numpy(
        cv2.distanceTransform((~boundary).cpu().numpy().astype(np.uint8), cv2.DIST_L2,
                              cv2.DIST_MASK_PRECISE)).to(label.device)
    return [
        IoUMetric.intersect_and_union(
            pred, label.masked_fill(distance > width, IGNORED), len(CLASSES), IGNORED)
        for width in WIDTHS
    ]
