"""Benchmark cases of instances: clustering the boxes of pixels, score maps to masks, and mAP^r.

Shapes: P pixels, Q kept boxes, D detections, G instances.
"""
from typing import Callable, List, Tuple

import numpy as np
import torch
from mmcv.ops import nms
from torch import Tensor

from mmseg_ext.evaluation.region_ap_metric import VOLUME, RegionAPMetric
from mmseg_ext.ops import cluster_pixel_boxes, logits_to_instances, pixel_instances
from mmseg_ext.ops.pixel_instances import PixelInstances, top_classes

from .case import Case, benchmark, sizes

IOU_THR = 0.5
#: Standard deviation of a predicted side, as a share of the box.
NOISE = 0.15
CLASSES = tuple(f'class {i}' for i in range(21))
#: Noise of the boxes that a localization network predicts, as a share of the box.
SMALL_NOISE = 0.05


def clustering(pixels: int) -> Callable[..., Case]:
    """Make the case that clusters so many boxes."""

    @benchmark('cluster_pixel_boxes', name=f'cluster_pixel_boxes_{pixels}')
    def case(device: str, small: bool = False) -> Case:
        """Noisy boxes of 20 objects, against mmcv's suppression alone and with the assignment.

        The assignment compares all boxes with all kept ones.
        """
        boxes, scores = _predictions(pixels // 100 if small else pixels)
        boxes, scores = boxes.to(device), scores.to(device)
        runs = {
            'ours': lambda: cluster_pixel_boxes(boxes, scores, IOU_THR),
            'mmcv: nms': lambda: nms(boxes, scores, IOU_THR)[1],
            'mmcv: nms, then the IoU of all': lambda: _suppress_and_assign(boxes, scores),
        }

        def parity() -> None:
            ours, keep, assigned = (run() for run in runs.values())
            assert torch.equal(ours[0], keep)
            for one, other in zip(ours, assigned):
                assert torch.equal(one, other)

        keep, cluster = runs['ours']()
        return Case(
            inputs=f'{len(boxes)} boxes of 20 objects, {len(keep)} kept at an IoU of {IOU_THR}',
            phase='clustering',
            runs=runs,
            floor_bytes=dict(clustering=sum(
                x.numel() * x.element_size() for x in (boxes, scores, keep, cluster))),
            parity=parity)

    return case


clustering(10000)
clustering(40000)


@benchmark('RegionAPMetric')
def region_ap_metric(device: str, small: bool = False) -> Case:
    """Matching ten detections of an image with five instances, against one pair after the other.

    The baseline has the IoU from two full masks, once for each pair, and takes the thresholds in
    turn.
    """
    size = (36, 48) if small else (375, 500)
    masks, labels, scores, instances, label_map = (x.to(device) for x in _image(*size))
    arguments = masks, labels, scores, instances, label_map, len(CLASSES), VOLUME
    runs = {
        'ours': lambda: RegionAPMetric.calculate(*arguments),
        'definition: pair by pair': lambda: _match_pairs(*arguments[:5]),
    }

    def parity() -> None:
        ours, pairs = (run() for run in runs.values())
        assert np.array_equal(ours[2], pairs)
        assert ours[2].any() and not ours[2].all()

    return Case(
        inputs=f'{sizes(masks.shape)} masks, {int(instances.max())} instances, '
        f'{len(VOLUME)} thresholds',
        phase='matching',
        runs=runs,
        parity=parity)


@benchmark('logits_to_instances', 'pixel_instances')
def score_maps_to_instances(device: str, small: bool = False) -> Case:
    """From score maps and boxes to the instances of an image, against grouping by centres.

    The baseline labels each pixel by its highest score, takes the centres of the true objects as
    given, and gives each pixel to the nearest one of its class, with the distances of all pixels to
    all centres in one tensor, as centre grouping does. It neither searches nor ranks, and it has
    one mask of a class where ours has two.
    """
    logits, boxes, centres, labels = (
        x.to(device) for x in _score_maps((60, 60) if small else (500, 500), 6 if small else 20))

    min_size = 5 if small else 50

    def ours() -> PixelInstances:
        return logits_to_instances(logits, lambda label: boxes, min_size=min_size)

    def ours_from_maps() -> PixelInstances:
        return pixel_instances(*top_classes(logits), lambda label: boxes, min_size=min_size)

    def grouping() -> Tensor:
        return _group_by_centres(logits, boxes, centres, labels)

    def parity() -> None:
        overlaps = _mask_overlaps(ours().masks, grouping())
        assert (overlaps.max(dim=0).values > 0.8).all(), 'an object was not found'
        for one, other in zip(ours(), ours_from_maps()):
            assert torch.equal(one, other)

    return Case(
        inputs=f'{sizes(logits.shape)} scores, {len(labels)} objects, '
        f'{len(ours().masks)} instances found',
        phase='decoding',
        runs={
            'ours': ours,
            'ours in two steps: top_classes, pixel_instances': ours_from_maps,
            'PyTorch: distances to all centres': grouping
        },
        floor_bytes=dict(decoding=4 * (logits.numel() + boxes.numel())
                         + len(labels) * boxes[0].numel()),
        parity=parity)


def _score_maps(size: Tuple[int, int], count: int) -> Tuple[Tensor, ...]:
    """Logits (21, H, W), boxes of the pixels (4, H, W), centres (K, 2) and labels (K,) of objects.

    Objects are rectangles on a grid, with gaps between them.
    """
    generator = torch.Generator().manual_seed(0)
    columns = 5 if count > 6 else 3
    rows = count // columns
    step = torch.tensor([size[1] // columns, size[0] // rows])
    place = torch.stack([torch.arange(count) % columns, torch.arange(count) // columns], dim=1)
    low, labels = place * step, 1 + torch.arange(count) % 5
    high = torch.minimum(low + step * 4 // 5, torch.tensor(size[::-1]))
    truth = torch.cat([low, high], dim=1).float()
    label_map, boxes = torch.zeros(size, dtype=torch.int64), torch.zeros(4, *size)
    for (x1, y1, x2, y2), label in zip(truth.long().tolist(), labels):
        boxes[:, y1:y2, x1:x2] = truth.new_tensor([x1, y1, x2, y2]).view(4, 1, 1)
        label_map[y1:y2, x1:x2] = label
    sides = (boxes[2:] - boxes[:2]).repeat(2, 1, 1)
    boxes += SMALL_NOISE * sides * torch.randn(boxes.shape, generator=generator)
    logits = torch.randn(21, *size, generator=generator) / 2
    logits.scatter_add_(0, label_map[None], torch.full((1, *size), 6.))
    return logits, boxes, (truth[:, :2] + truth[:, 2:]) / 2, labels


def _group_by_centres(logits: Tensor, boxes: Tensor, centres: Tensor, labels: Tensor) -> Tensor:
    """Give each pixel to the nearest centre of its class: masks (K, H, W)."""
    found = logits.max(dim=0).indices.flatten()  # faster than argmax
    own = ((boxes[:2] + boxes[2:]) / 2).flatten(1).T
    distances = (centres[:, None] - own).norm(dim=2)  # of (K, pixels, 2)
    distances = distances.masked_fill(labels[:, None] != found, torch.inf)
    nearest = distances.argmin(dim=0).masked_fill(found == 0, -1)
    masks = nearest == torch.arange(len(labels), device=labels.device)[:, None]
    return masks.view(-1, *logits.shape[1:])


def _mask_overlaps(masks: Tensor, others: Tensor) -> Tensor:
    """IoU of masks (Q, H, W) and others (K, H, W), (Q, K)."""
    masks, others = (x.flatten(1).float() for x in (masks, others))
    shared = masks @ others.T
    return shared / (masks.sum(dim=1)[:, None] + others.sum(dim=1) - shared)


def _predictions(count: int) -> Tuple[Tensor, Tensor]:
    """Boxes (P, 4) in which pixels of 20 objects see them, and different scores (P,)."""
    generator = torch.Generator().manual_seed(0)
    size = 20 + 180 * torch.rand(20, 2, generator=generator)
    corner = 400 * torch.rand(20, 2, generator=generator)
    which = torch.randint(20, (count, ), generator=generator)
    noise = NOISE * torch.randn(count, 4, generator=generator) * size[which].repeat(1, 2)
    boxes = torch.cat([corner, corner + size], dim=1)[which] + noise
    return boxes, torch.randperm(count, generator=generator) / count


def _suppress_and_assign(boxes: Tensor, scores: Tensor) -> Tuple[Tensor, Tensor]:
    """Suppress, then look for the first kept box that each box joins."""
    keep = nms(boxes, scores, IOU_THR)[1]
    kept = boxes[keep]
    low = torch.maximum(boxes[:, None, :2], kept[:, :2])
    high = torch.minimum(boxes[:, None, 2:], kept[:, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=2)
    areas, kept_areas = ((x[:, 2:] - x[:, :2]).prod(dim=1) for x in (boxes, kept))
    iou = intersection / (areas[:, None] + kept_areas - intersection)
    return keep, (iou > IOU_THR).to(torch.uint8).argmax(dim=1)


def _image(height: int, width: int) -> List[Tensor]:
    """Masks (10, H, W), labels, scores, instances and label map (H, W): each square found twice."""
    generator = torch.Generator().manual_seed(0)
    side = height // 3
    instances, label_map = torch.zeros(2, height, width, dtype=torch.int64)
    masks = torch.zeros(10, height, width, dtype=torch.bool)
    for i in range(5):
        y, x = (int(torch.randint(n - side, (), generator=generator)) for n in (height, width))
        instances[y:y + side, x:x + side] = label_map[y:y + side, x:x + side] = i + 1
        masks[i, y:y + side, x:x + side] = True
        masks[5 + i, y + side // 8:y + side, x:x + side] = True
    labels = torch.arange(1, 6).repeat(2)
    return [masks, labels, torch.rand(10, generator=generator), instances, label_map]


def _match_pairs(masks: Tensor, labels: Tensor, scores: Tensor, instances: Tensor,
                 label_map: Tensor) -> np.ndarray:
    """Hits (D, T) by the protocol of SDS, one pair and one threshold after the other."""
    truth = [instances == number for number in instances.unique() if number > 0]
    classes = [label_map[inside].mode().values for inside in truth]
    ious = [[float((mask & inside).sum() / (mask | inside).sum().double()) for inside in truth]
            for mask in masks]
    hits = np.zeros((len(masks), len(VOLUME)), dtype=bool)
    for t, threshold in enumerate(VOLUME):
        free = set(range(len(truth)))
        for d in scores.argsort(descending=True).tolist():
            same = [g for g in free if classes[g] == labels[d]]
            best = max(same, key=ious[d].__getitem__, default=None)
            if best is not None and ious[d][best] > threshold:
                hits[d, t] = True
                free.remove(best)
    return hits
