"""Instances from the scores and the boxes of pixels.

Shapes: C classes, H x W pixels, n ranks, P pixels of one class, Q instances.
"""
from itertools import accumulate
from numbers import Real
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from .checks import check_tensors, check_whole
from .cluster_pixel_boxes import cluster_pixel_boxes

#: Logits that are looked at together: they stay in the L2 cache.
STRIP = 2**18
MOST_CLASSES = 2**15


class PixelInstances(NamedTuple):
    """Instances of an image, those with the highest scores first.

    Attributes:
        masks (Tensor): (Q, H, W) bool.
        labels (Tensor): Their classes, (Q,) int64.
        scores (Tensor): (Q,) float32.
        boxes (Tensor): The box that the pixel with the highest score of each predicts, x1, y1, x2,
            y2, (Q, 4).
    """
    masks: Tensor
    labels: Tensor
    scores: Tensor
    boxes: Tensor


class _Hypotheses(NamedTuple):
    """Clusters of one class: which pixels lie in which, and what is known of each."""
    pixels: Tensor
    numbers: Tensor
    labels: Tensor
    scores: Tensor
    boxes: Tensor


def top_classes(logits: Tensor, n: int = 2, min_score: float = 0.05) -> Tuple[Tensor, Tensor]:
    """Find the n classes with the highest scores of each pixel.

    Args:
        logits (Tensor): (C, H, W).
        n (int): At least 1; where there are fewer classes, all are found. Defaults to 2.
        min_score (float): Least probability of those that are found, from 0 to 1. Defaults to 0.05.

    Returns:
        tuple[Tensor, Tensor]: Classes (n, H, W) int16 from the highest score to the lowest, of
        equal scores the lower class first, and their softmax probabilities, (n, H, W) float32;
        -1 and 0 where a pixel has no more, and behind a NaN.

    Raises:
        ValueError: If there are no two classes, or a number is out of its range.

    Note:
        Some rows are looked at together, so that no second map of C channels is made.
    """
    check_tensors(logits=logits)
    if logits.ndim != 3 or not 2 <= len(logits) < MOST_CLASSES or not logits.is_floating_point():
        raise ValueError('logits must be floating-point (C, H, W) with two classes at least, got '
                         f'{logits.dtype} {tuple(logits.shape)}.')
    check_whole('n', n, 1)
    _check_share('min_score', min_score)
    count, height, width = logits.shape
    n = min(n, count)
    classes = torch.full((n, height, width), -1, dtype=torch.int16, device=logits.device)
    scores = torch.zeros((n, height, width), device=logits.device)
    rows = max(1, STRIP // max(1, count * width))
    for y in range(0, height, rows):
        strip = logits.detach()[:, y:y + rows].float().flatten(1)
        normalizer = strip.logsumexp(dim=0)
        at, rest = slice(y * width, y * width + strip.shape[1]), 1.
        for k in range(n):
            highest, label = strip.max(dim=0)
            score = (highest - normalizer).exp()
            found = score >= min_score
            classes[k].view(-1)[at] = label.masked_fill(~found, -1).short()
            scores[k].view(-1)[at] = score.where(found, score.new_zeros(()))
            # the next class can have no more than what is left
            rest = rest - score
            more = (rest >= min_score).nonzero().squeeze(1)
            if k == n - 1 or len(more) == 0:
                break
            at = more + y * width if k == 0 else at[more]
            strip, normalizer, rest, label = (
                strip[:, more], normalizer[more], rest[more], label[more])
            strip.scatter_(0, label[None], -torch.inf)
    return classes, scores


def pixel_instances(classes: Tensor,
                    scores: Tensor,
                    boxes: Callable[[int], Tensor],
                    *,
                    background: Sequence[int] = (0, ),
                    iou_thr: float = 0.5,
                    min_size: int = 50,
                    region_iou: Union[float, str] = 0.3,
                    max_instances: int = 100,
                    implementation: Optional[str] = None) -> PixelInstances:
    """Turn the scores of pixels and the boxes that they predict into instances.

    Steps 3 to 6 of section 2.1 of `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_. Each class has n masks: the k-th has the
    pixels for which it is among their k highest scores. In each mask the boxes of the pixels are
    clustered (:func:`cluster_pixel_boxes`). A cluster is a hypothesis: its pixels are the mask,
    the mean of their scores is the score. Suppression by the overlap of masks then picks among the
    hypotheses of a class.

    Args:
        classes (Tensor): Classes of each pixel, those with the highest scores first, (n, H, W)
            integers. A negative number stands for no class. The n classes of a pixel differ.
        scores (Tensor): Their probabilities, (n, H, W), see :func:`top_classes`.
        boxes (Callable): Gives the boxes that all pixels predict for a class, x1, y1, x2, y2 in
            pixels of the image, (4, H, W). It is asked for the classes that need them, once each.
        background (Sequence[int]): Classes without instances. Defaults to (0,). They count in the
            ranks: where the background has the highest score, the best other class is second.
        iou_thr (float): A pixel joins the first box with a higher IoU. Defaults to 0.5.
        min_size (int): Least number of pixels of a hypothesis. Defaults to 50.
        region_iou (float | str): A hypothesis with a higher mask IoU with a better one of its class
            is suppressed. Defaults to 0.3; 0 or ``'any'``: any overlap suppresses.
        max_instances (int): Number of instances that are returned at most. Defaults to 100.
        implementation (str, optional): As in :func:`cluster_pixel_boxes`.

    Returns:
        PixelInstances: Of equal scores the lower class comes first, in a class the lower k.

    Raises:
        ValueError: If shapes, types or numbers are not as described.

    Note:
        All defaults but the rule for the scores are ours, as the paper names no numbers. Masks of
        one class can overlap as far as ``region_iou`` allows, those of two classes freely: a
        pixel has n classes. No tensor is as large as Q times H times W but the result.
    """
    _check_maps(classes, scores)
    region_iou = 0. if region_iou == 'any' else region_iou
    if not callable(boxes):
        raise ValueError(f'boxes must be a function of the class, got {type(boxes).__name__}.')
    for label in background:
        check_whole('a class of background', label, 0, MOST_CLASSES - 1)
    _check_share('iou_thr', iou_thr)
    _check_share('region_iou', region_iou)
    check_whole('min_size', min_size, 1)
    check_whole('max_instances', max_instances, 1)
    shape, scores = classes.shape[1:], scores.detach().float()
    counted = classes >= 0
    for label in background:
        counted &= classes != label
    places = counted.flatten().nonzero().squeeze(1)
    # stable: in a class by rank, then in reading order
    labels, order = classes.flatten()[places].sort(stable=True)
    places = places[order]
    if len(labels) and int(labels[-1]) >= MOST_CLASSES:
        raise ValueError(f'classes must be below {MOST_CLASSES}, got {int(labels[-1])}.')
    sizes = torch.bincount(labels).tolist()
    found = []
    for label, (size, end) in enumerate(zip(sizes, accumulate(sizes))):
        if size < min_size:
            continue
        own_places = places[end - size:end]
        ranks = own_places.div(shape.numel(), rounding_mode='floor')
        pixels = own_places - ranks * shape.numel()
        own = boxes(label)
        if own.shape != (4, *shape):
            raise ValueError(f'boxes must give (4, {shape[0]}, {shape[1]}) for a class, got '
                             f'{tuple(own.shape)} for {label}.')
        # .T of a contiguous (4, P): a quarter of the time of an index into rows of four
        own = own.detach().flatten(1)[:, pixels].T
        found.append(_hypotheses_of_class(
            label, pixels, torch.bincount(ranks, minlength=len(classes)).cumsum(0).tolist(),
            scores.flatten()[own_places], own, iou_thr, min_size, region_iou, implementation))
    return _paint(found, shape, max_instances, scores)


def _hypotheses_of_class(label: int, pixels: Tensor, counts: List[int], scores: Tensor,
                         boxes: Tensor, iou_thr: float, min_size: int, region_iou: float,
                         implementation: Optional[str]) -> _Hypotheses:
    """Cluster the masks of a class and suppress hypotheses.

    Args:
        label (int): The class.
        pixels (Tensor): Its pixels in all masks, in the order of their ranks, (P,) int64.
        counts (list[int]): How many of them each mask has, (n,).
        scores (Tensor): (P,).
        boxes (Tensor): (P, 4).
        iou_thr, min_size, region_iou, implementation: As in :func:`pixel_instances`.

    Returns:
        _Hypotheses: Those that are left.
    """
    numbers, areas, means, best = [], [], [], []
    total = 0
    for count, before in zip(counts, [0, *counts]):
        if count < min_size or count == before:
            continue
        keep, cluster = cluster_pixel_boxes(
            boxes[:count], scores[:count], iou_thr, implementation=implementation)
        area = torch.bincount(cluster, minlength=len(keep))
        large = area >= min_size
        position = (large.cumsum(0) - 1 + total).masked_fill(~large, -1)
        numbers.append(position[cluster])
        areas.append(area[large])
        sums = torch.bincount(cluster, scores[:count].double(), minlength=len(keep))[large]
        means.append((sums / areas[-1]).float())
        best.append(boxes[keep[large]])
        total += len(areas[-1])
    if total == 0:
        none = pixels[:0]
        return _Hypotheses(none, none, none, scores[:0], boxes[:0])
    areas, means, best = torch.cat(areas), torch.cat(means), torch.cat(best)
    left = _suppress(numbers, areas, means, region_iou)
    position = torch.full((total + 1, ), -1, device=pixels.device)  # the last stands for -1
    position[left] = torch.arange(len(left), device=pixels.device)
    members = [position[number] for number in numbers]
    return _Hypotheses(
        torch.cat([pixels[:len(own)][own >= 0] for own in members]),
        torch.cat([own[own >= 0] for own in members]),
        left.new_full((len(left), ), label), means[left], best[left])


def _suppress(numbers: List[Tensor], areas: Tensor, scores: Tensor, region_iou: float) -> Tensor:
    """Suppress hypotheses that overlap a better one.

    Args:
        numbers (list[Tensor]): The hypothesis of each pixel in each mask, -1 for none; a longer
            mask begins with the pixels of a shorter one.
        areas (Tensor): Pixels of each hypothesis, (G,) int64.
        scores (Tensor): (G,).
        region_iou (float): Largest IoU of two that are left.

    Returns:
        Tensor: Those that are left, by rising number.
    """
    rivals = {}
    # In one mask they have no pixel in common.
    for b in range(1, len(numbers)):
        for a in range(b):
            one, other = numbers[a], numbers[b][:len(numbers[a])]
            both = (one >= 0) & (other >= 0)
            pairs, shared = (one[both] * len(areas) + other[both]).unique(return_counts=True)
            i, j = pairs // len(areas), pairs % len(areas)
            close = shared > region_iou * (areas[i] + areas[j] - shared)
            for first, second in zip(i[close].tolist(), j[close].tolist()):
                rivals.setdefault(first, []).append(second)
                rivals.setdefault(second, []).append(first)
    suppressed = set()
    for i in scores.sort(descending=True, stable=True).indices.tolist() if rivals else ():
        if i not in suppressed:
            suppressed.update(rivals.get(i, ()))
    left = [i for i in range(len(areas)) if i not in suppressed]
    return torch.tensor(left, device=areas.device)


def _paint(found: List[_Hypotheses], shape: Sequence[int], most: int,
           scores: Tensor) -> PixelInstances:
    """Put the hypotheses of all classes in order and paint their masks.

    Args:
        found (list[_Hypotheses]): Of each class.
        shape (Sequence[int]): (H, W).
        most (int): Number of those that are painted.
        scores (Tensor): Of any size, for its device and type.

    Returns:
        PixelInstances: The instances.
    """
    if not found:
        none = scores.new_empty(0, dtype=torch.int64)
        return PixelInstances(scores.new_empty((0, *shape), dtype=torch.bool), none,
                              scores.new_empty(0), scores.new_empty(0, 4))
    means = torch.cat([each.scores for each in found])
    order = means.sort(descending=True, stable=True).indices[:most]
    position = torch.full_like(means, -1, dtype=torch.int64)
    position[order] = torch.arange(len(order), device=order.device)
    masks = torch.zeros((len(order), shape[0] * shape[1]), dtype=torch.bool, device=order.device)
    offset = 0
    for each in found:
        rows = position[each.numbers + offset]
        masks[rows[rows >= 0], each.pixels[rows >= 0]] = True
        offset += len(each.scores)
    return PixelInstances(
        masks.view(-1, *shape), torch.cat([each.labels for each in found])[order], means[order],
        torch.cat([each.boxes for each in found])[order])


def _check_maps(classes: Tensor, scores: Tensor) -> None:
    check_tensors(classes=classes, scores=scores)
    if classes.ndim != 3 or classes.shape != scores.shape or len(classes) == 0:
        raise ValueError('classes and scores must both be (n, H, W) with an n of at least 1, got '
                         f'{tuple(classes.shape)} and {tuple(scores.shape)}.')
    signed = torch.int8, torch.int16, torch.int32, torch.int64
    if classes.dtype not in signed or not scores.is_floating_point():
        raise ValueError('classes must be signed integers and scores floating-point numbers, got '
                         f'{classes.dtype} and {scores.dtype}.')


def _check_share(name: str, value: float) -> None:
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise ValueError(f'{name} must be from 0 to 1, got {value!r}.')
