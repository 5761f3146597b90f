"""Benchmark cases of the metrics that are of no single paper: counting an image."""
from typing import Callable, List, Sequence, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_ext.evaluation import F1Metric
from mmseg_ext.evaluation.e_measure_metric import EPS, EMeasureMetric

from .case import Case, benchmark, sizes

CLASSES = tuple(f'class {i}' for i in range(19))
WIDTHS = range(1, 11)
IGNORED = 255
GROUPS = dict(flat=(0, 1), construction=(2, 3, 4), object=(5, 6, 7), nature=(8, 9),
              human=(11, 12), vehicle=range(13, 19))


@benchmark('TrimapMetric')
def trimap_metric(device: str, small: bool = False) -> Case:
    """Ten bands and what is outside of each, against mmseg's metric once and for each band.

    Once, on the whole image, it counts a tenth of that: what an evaluation costs without bands.
    For each band it is given a label map that is ignored outside of it, all from one distance
    transform; the counts of the bands must agree.
    """
    pred, label = _sample(device, small)
    samples = [dict(gt_sem_seg=dict(data=label[None]), pred_sem_seg=dict(data=pred[None]))]
    runs = {
        'ours: ten widths, inside and outside': counting(
            dict(type='TrimapMetric', widths=WIDTHS), CLASSES, samples),
        'mmseg: IoUMetric, whole image': counting(dict(type='IoUMetric'), CLASSES, samples),
        'mmseg: IoUMetric, for each band': lambda: _each_band(pred, label),
    }

    def parity() -> None:
        (rings, ), _, bands = (run() for run in runs.values())
        for ours, (intersection, _, of_pred, of_label) in zip(rings.cumsum(dim=0), bands):
            assert torch.equal(ours, torch.stack([intersection, of_pred, of_label]).long())

    return Case(
        inputs=f'label map of {sizes(label.shape)}, {len(CLASSES)} classes, widths 1 to 10',
        phase='counting',
        runs=runs,
        parity=parity)


@benchmark('F1Metric')
def f1_metric(device: str, small: bool = False) -> Case:
    """F1 of the classes and of six groups from one count, against mmseg's metric once and more.

    Once, it counts what the classes need; for a group it is given maps of two classes, in the group
    and not. The counts must agree.
    """
    pred, label = _sample(device, small)
    runs = {
        'ours: classes and groups': lambda: F1Metric.calculate(
            pred, label, len(CLASSES), GROUPS, IGNORED),
        'mmseg: IoUMetric, classes': lambda: IoUMetric.intersect_and_union(
            pred, label, len(CLASSES), IGNORED),
        'mmseg: IoUMetric, classes and each group': lambda: _each_group(pred, label),
    }

    def parity() -> None:
        ours, _, theirs = (run() for run in runs.values())
        assert torch.equal(ours, theirs.long())

    return Case(
        inputs=f'label map of {sizes(label.shape)}, {len(CLASSES)} classes, {len(GROUPS)} groups',
        phase='counting',
        runs=runs,
        parity=parity)


@benchmark('EMeasureMetric')
def e_measure_metric(device: str, small: bool = False) -> Case:
    """The measure of every class from counts, against the definition on a pair of maps per class.

    mmseg's metric counts the same image for its mIoU: what an evaluation costs without the measure.
    """
    pred, label = _sample(device, small)
    runs = {
        'ours: all classes from one count':
        lambda: EMeasureMetric.calculate(pred, label, len(CLASSES), IGNORED),
        'definition: two maps per class': lambda: _map_by_map(pred, label),
        'mmseg: IoUMetric': lambda: IoUMetric.intersect_and_union(
            pred, label, len(CLASSES), IGNORED),
    }

    def parity() -> None:
        ours, maps, _ = (run() for run in runs.values())
        torch.testing.assert_close(ours, maps, rtol=1e-12, atol=0, equal_nan=True)

    return Case(
        inputs=f'label map of {sizes(label.shape)}, {len(CLASSES)} classes',
        phase='measuring',
        runs=runs,
        parity=parity)


def counting(metric: dict, classes: Sequence[str], samples: List[dict]) -> Callable[[], list]:
    """Build a metric; each call of the function returned gives what it counts of the samples."""
    built = METRICS.build(metric)
    built.dataset_meta = dict(classes=classes)

    def run() -> list:
        built.results.clear()
        built.process({}, samples)
        return list(built.results)

    return run


def _sample(device: str, small: bool) -> Tuple[Tensor, Tensor]:
    """Prediction and label map of squares, which agree in some.

    Squares, so that there are pixels beyond the widest band of a trimap.
    """
    height, width = (32, 64) if small else (512, 1024)
    side = height // 8
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(len(CLASSES), (8, width // side), generator=generator)
    label = label.repeat_interleave(side, dim=0).repeat_interleave(side, dim=1)
    pred = label.roll(3, dims=1)
    label[:side] = IGNORED
    return pred.to(device), label.to(device)


def _each_group(pred: Tensor, label: Tensor) -> Tensor:
    """What mmseg's metric counts of the classes and of GROUPS, in the rows of F1Metric."""
    hits, _, taken, true = IoUMetric.intersect_and_union(pred, label, len(CLASSES), IGNORED)
    counts = [torch.stack([hits, taken, true])]
    for members in GROUPS.values():
        member = torch.zeros(IGNORED + 1, dtype=torch.long, device=label.device)
        member[list(members)] = 1
        inside = member[label].masked_fill(label == IGNORED, IGNORED)
        hits, _, taken, true = IoUMetric.intersect_and_union(member[pred], inside, 2, IGNORED)
        counts.append(torch.stack([hits, taken, true])[:, 1:])
    return torch.cat(counts, dim=1)


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


def _map_by_map(pred: Tensor, label: Tensor) -> Tensor:
    """The measure of each class from its maps, as the definition has it; NaN where not true."""
    known = label != IGNORED
    pred, label = pred[known], label[known]
    scores = []
    for c in range(len(CLASSES)):
        true, taken = (label == c).double(), (pred == c).double()
        if true.max() == 0:
            scores.append(torch.tensor(float('nan'), dtype=torch.float64, device=label.device))
            continue
        a, b = true - true.mean(), taken - taken.mean()
        enhanced = (2 * a * b / (a * a + b * b + EPS) + 1)**2 / 4
        scores.append((taken if true.min() == 1 else enhanced).sum() / (len(true) - 1 + EPS))
    return torch.stack(scores).cpu()
