"""Instances from the scores and the boxes of pixels.

Shapes: C classes, H x W pixels, n ranks, P pixels of one class, Q instances.
"""
import math
from numbers import Real
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from .checks import check_tensors, check_whole
from .cluster_pixel_boxes import cluster_pixel_boxes

#: Logits that are looked at together. On a CPU they stay in the L2 cache; elsewhere each strip
#: waits for the device, so there are few.
STRIP, DEVICE_STRIP = 2**18, 2**25
#: Pixels that are painted together.
CHUNK = 2**13
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
    """Clusters of one class: which pixels lie in which (int32, the numbers int16 where they are few
    enough), and what is known of each.
    """
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
    logits = logits.detach()
    count, height, width = logits.shape
    n = min(n, count)
    classes = torch.full((n, height, width), -1, dtype=torch.int16, device=logits.device)
    scores = torch.zeros((n, height, width), device=logits.device)
    least = math.log(min_score) - 1e-4 if min_score else -math.inf  # less, by more than rounding
    together = STRIP if logits.device.type == 'cpu' else DEVICE_STRIP
    rows = max(1, together // max(1, count * width))
    for top in range(0, height, rows):
        at = slice(top, top + rows)
        strip = logits[:, at].float()
        highest, label = strip.max(dim=0)
        normalizer = strip.logsumexp(dim=0)
        score = (highest - normalizer).exp_()
        found = score >= min_score
        classes[0, at] = label.masked_fill(~found, -1)
        scores[0, at] = score.masked_fill(~found, 0)
        if n == 1:
            continue
        found &= (strip >= normalizer + least).sum(dim=0, dtype=torch.int16) > 1
        y, x = found.nonzero(as_tuple=True)
        columns, normalizer, label = strip[:, y, x], normalizer[y, x], label[y, x]
        for k in range(1, n):
            columns.scatter_(0, label[None], -torch.inf)
            highest, label = columns.max(dim=0)
            score = (highest - normalizer).exp_()
            found = score >= min_score
            classes[k, top + y, x] = label.masked_fill(~found, -1).short()
            scores[k, top + y, x] = score.masked_fill(~found, 0)
    return classes, scores


def pixel_instances(classes: Tensor,
                    scores: Tensor,
                    boxes: Callable[[int], Tensor],
                    *,
                    background: Sequence[int] = (0, ),
                    iou_thr: float = 0.3,
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
        iou_thr (float): A pixel joins the first box with a higher IoU. Defaults to 0.3.
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
    check_whole('max_instances', max_instances, 1)
    found = _find_hypotheses(classes, scores, boxes, background, iou_thr, min_size, region_iou,
                             implementation)
    return _paint(found, classes.shape[1:], max_instances, scores)


def logits_to_instances(logits: Tensor,
                        boxes: Callable[[int], Tensor],
                        *,
                        top_n: int = 2,
                        min_score: float = 0.05,
                        max_instances: int = 100,
                        **kwargs: Any) -> PixelInstances:
    """Find the :func:`top_classes` of the pixels, then their :func:`pixel_instances`.

    The maps of classes and scores are gone before the masks are made.

    Args:
        logits (Tensor): (C, H, W).
        boxes (Callable): As in :func:`pixel_instances`.
        top_n (int): n of :func:`top_classes`. Defaults to 2.
        min_score (float): As in :func:`top_classes`. Defaults to 0.05.
        max_instances (int): As in :func:`pixel_instances`. Defaults to 100.
        kwargs: Further arguments of :func:`pixel_instances`.

    Returns:
        PixelInstances: As from :func:`pixel_instances`.
    """
    check_whole('max_instances', max_instances, 1)
    found = _find_hypotheses(*top_classes(logits, top_n, min_score), boxes, **kwargs)
    return _paint(found, logits.shape[1:], max_instances, logits)


def _find_hypotheses(classes: Tensor,
                     scores: Tensor,
                     boxes: Callable[[int], Tensor],
                     background: Sequence[int] = (0, ),
                     iou_thr: float = 0.3,
                     min_size: int = 50,
                     region_iou: Union[float, str] = 0.3,
                     implementation: Optional[str] = None) -> List[_Hypotheses]:
    """Find the hypotheses of each class that are left (arguments of :func:`pixel_instances`)."""
    _check_maps(classes, scores)
    region_iou = 0. if region_iou == 'any' else region_iou
    if not callable(boxes):
        raise ValueError(f'boxes must be a function of the class, got {type(boxes).__name__}.')
    for label in background:
        check_whole('a class of background', label, 0, MOST_CLASSES - 1)
    _check_share('iou_thr', iou_thr)
    _check_share('region_iou', region_iou)
    check_whole('min_size', min_size, 1)
    if classes.numel() and int(classes.max()) >= MOST_CLASSES:
        raise ValueError(f'classes must be below {MOST_CLASSES}, got {int(classes.max())}.')
    shape, area = classes.shape[1:], classes[0].numel()
    ends = area * torch.arange(1, len(classes) + 1, device=classes.device)
    classes, scores = classes.flatten(), scores.detach().flatten()
    found = []
    for label, size in enumerate(torch.bincount(classes[classes >= 0]).tolist()):
        if size < min_size or label in background:
            continue
        # one class after the other: by rank, then in reading order
        places = (classes == label).nonzero().squeeze(1)
        counts, own_scores = torch.searchsorted(places, ends).tolist(), scores[places].float()
        pixels = places % area
        del places
        own = boxes(label)
        if own.shape != (4, *shape):
            raise ValueError(f'boxes must give (4, {shape[0]}, {shape[1]}) for a class, got '
                             f'{tuple(own.shape)} for {label}.')
        # .T of a contiguous (4, P): a quarter of the time of an index into rows of four
        own = own.detach().flatten(1)[:, pixels].T.contiguous()
        found.append(_hypotheses_of_class(label, pixels.int(), counts, own_scores, own, iou_thr,
                                          min_size, region_iou, implementation))
    return found


def _hypotheses_of_class(label: int, pixels: Tensor, counts: List[int], scores: Tensor,
                         boxes: Tensor, iou_thr: float, min_size: int, region_iou: float,
                         implementation: Optional[str]) -> _Hypotheses:
    """Cluster the masks of a class and suppress hypotheses.

    Args:
        label (int): The class.
        pixels (Tensor): Its pixels in all masks, in the order of their ranks, (P,) int32.
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
        return _Hypotheses(none, none, none.long(), scores[:0], boxes[:0])
    areas, means, best = torch.cat(areas), torch.cat(means), torch.cat(best)
    left = _suppress(numbers, areas, means, region_iou)
    few = torch.int16 if len(left) < 2**15 else torch.int32
    position = torch.full((total + 1, ), -1, dtype=few, device=pixels.device)  # the last is of -1
    position[left] = torch.arange(len(left), dtype=few, device=pixels.device)
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
        scores (Tensor): Anything on the device.

    Returns:
        PixelInstances: The instances.
    """
    if not found:
        none = torch.empty(0, device=scores.device)
        return PixelInstances(none.bool().new_empty(0, *shape), none.long(), none,
                              none.new_empty(0, 4))
    means = torch.cat([each.scores for each in found])
    order = means.sort(descending=True, stable=True).indices[:most]
    position = torch.full_like(means, -1, dtype=torch.int64)
    position[order] = torch.arange(len(order), device=order.device)
    masks = torch.zeros((len(order), shape[0] * shape[1]), dtype=torch.bool, device=order.device)
    offset = 0
    for each in found:
        for numbers, pixels in zip(each.numbers.split(CHUNK), each.pixels.split(CHUNK)):
            rows = position[numbers.long() + offset]
            masks.view(-1)[(rows * masks.shape[1] + pixels)[rows >= 0]] = True
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
