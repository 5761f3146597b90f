"""Instances from the scores and the boxes of pixels.

Shapes: C classes, H x W pixels, n ranks, P pixels of one class, Q instances.
"""
import itertools
import math
from numbers import Real
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from .checks import check_tensors, check_whole
from .cluster_pixel_boxes import cluster_pixel_boxes

#: Logits that are looked at together. On a CPU they stay in the L2 cache; elsewhere each strip
#: waits for the device, so there are few.
STRIP, DEVICE_STRIP = 2**18, 2**25
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


class _Rank(NamedTuple):
    """The pixels that have a k-th class, in reading order: int32, the classes, the scores."""
    pixels: Tensor
    classes: Tensor
    scores: Tensor


class _Hypotheses(NamedTuple):
    """Hypotheses that are left, class by class; the pixels of each, int32."""
    pixels: List[Tensor]
    labels: List[int]
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
    _check_logits(logits, n, min_score)
    count, height, width = logits.shape
    n = min(n, count)
    classes = torch.full((n, height * width), -1, dtype=torch.int16, device=logits.device)
    scores = torch.zeros((n, height * width), device=logits.device)
    for k, pixels, labels, strip_scores in _found_classes(logits, n, min_score):
        classes[k, pixels] = labels.short()
        scores[k, pixels] = strip_scores
    return classes.view(n, height, width), scores.view(n, height, width)


def _found_classes(logits: Tensor, n: int,
                   min_score: float) -> Iterator[Tuple[int, Tensor, Tensor, Tensor]]:
    """Find the classes of :func:`top_classes`, strip by strip.

    Yields:
        tuple[int, Tensor, Tensor, Tensor]: A rank k, the pixels of a strip that have a k-th class,
        in reading order, these classes, int64, and their scores.
    """
    logits = logits.detach()
    count, height, width = logits.shape
    least = math.log(min_score) - 1e-4 if min_score else -math.inf  # less, by more than rounding
    together = STRIP if logits.device.type == 'cpu' else DEVICE_STRIP
    rows = max(1, together // max(1, count * width))
    for top in range(0, height, rows):
        strip = logits[:, top:top + rows].flatten(1).float()
        highest, label = strip.max(dim=0)
        normalizer = strip.logsumexp(dim=0)
        score = (highest - normalizer).exp_()
        found = score >= min_score
        pixels = found.nonzero().squeeze(1)
        yield 0, pixels + top * width, label[pixels], score[pixels]
        if n == 1:
            continue
        found &= (strip >= normalizer + least).sum(dim=0, dtype=torch.int16) > 1
        pixels = found.nonzero().squeeze(1)
        columns, normalizer, label = strip[:, pixels], normalizer[pixels], label[pixels]
        for k in range(1, n):
            columns.scatter_(0, label[None], -torch.inf)
            highest, label = columns.max(dim=0)
            score = (highest - normalizer).exp_()
            at = (score >= min_score).nonzero().squeeze(1)
            yield k, pixels[at] + top * width, label[at], score[at]


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
    _check_maps(classes, scores)
    _check_background(background)
    ranks = []
    for own, own_scores in zip(classes.flatten(1), scores.detach().flatten(1)):
        pixels = (own >= 0).nonzero().squeeze(1)
        ranks.append(_Rank(pixels.int(), own[pixels], own_scores[pixels].float()))
    found = _find_hypotheses(ranks, classes.shape[1:], boxes, background, iou_thr, min_size,
                             region_iou, implementation)
    return _paint(found, classes.shape[1:], max_instances)


def logits_to_instances(logits: Tensor,
                        boxes: Callable[[int], Tensor],
                        *,
                        top_n: int = 2,
                        min_score: float = 0.05,
                        background: Sequence[int] = (0, ),
                        max_instances: int = 100,
                        **kwargs: Any) -> PixelInstances:
    """Find the :func:`top_classes` of the pixels, then their :func:`pixel_instances`.

    It lists the pixels that are not background. Maps of classes and scores are not made.

    Args:
        logits (Tensor): (C, H, W).
        boxes (Callable): As in :func:`pixel_instances`.
        top_n (int): n of :func:`top_classes`. Defaults to 2.
        min_score (float): As in :func:`top_classes`. Defaults to 0.05.
        background (Sequence[int]): As in :func:`pixel_instances`. Defaults to (0,).
        max_instances (int): As in :func:`pixel_instances`. Defaults to 100.
        kwargs: Further arguments of :func:`pixel_instances`.

    Returns:
        PixelInstances: As from :func:`pixel_instances`.
    """
    check_whole('max_instances', max_instances, 1)
    _check_logits(logits, top_n, min_score)
    _check_background(background)
    ranks = _list_classes(logits, min(top_n, len(logits)), min_score, background)
    found = _find_hypotheses(ranks, logits.shape[1:], boxes, background, **kwargs)
    del ranks  # before the masks are there
    return _paint(found, logits.shape[1:], max_instances)


def _list_classes(logits: Tensor, n: int, min_score: float,
                  background: Sequence[int]) -> List[_Rank]:
    """List what :func:`top_classes` finds, without the background."""
    area = logits[0].numel()
    is_object = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    is_object[[label for label in background if label < len(logits)]] = False
    lists = [_Rank(*(torch.empty(area, dtype=dtype, device=logits.device)
                     for dtype in (torch.int32, torch.int16, torch.float32))) for _ in range(n)]
    ends = [0] * n
    for k, *found in _found_classes(logits, n, min_score):
        kept = is_object[found[1]].nonzero().squeeze(1)
        begin, ends[k] = ends[k], ends[k] + len(kept)
        for into, values in zip(lists[k], found):
            into[begin:ends[k]] = values[kept]
    return [_Rank(*(values[:end] for values in each)) for each, end in zip(lists, ends)]


def _find_hypotheses(ranks: List[_Rank],
                     shape: Sequence[int],
                     boxes: Callable[[int], Tensor],
                     background: Sequence[int],
                     iou_thr: float = 0.3,
                     min_size: int = 50,
                     region_iou: Union[float, str] = 0.3,
                     implementation: Optional[str] = None) -> _Hypotheses:
    """Find the hypotheses that are left.

    ``shape`` is (H, W). The other arguments are those of :func:`pixel_instances`.
    """
    region_iou = 0. if region_iou == 'any' else region_iou
    if not callable(boxes):
        raise ValueError(f'boxes must be a function of the class, got {type(boxes).__name__}.')
    _check_share('iou_thr', iou_thr)
    _check_share('region_iou', region_iou)
    check_whole('min_size', min_size, 1)
    most = max((int(rank.classes.max()) for rank in ranks if len(rank.classes)), default=0)
    if most >= MOST_CLASSES:
        raise ValueError(f'classes must be below {MOST_CLASSES}, got {most}.')
    sizes = sum(torch.bincount(rank.classes, minlength=most + 1) for rank in ranks)
    members, labels, means, best = [], [], [], []
    for label, size in enumerate(sizes.tolist()):
        if size < min_size or label in background:
            continue
        # one class after the other: by rank, then in reading order
        chosen = [(rank.classes == label).nonzero().squeeze(1) for rank in ranks]
        counts = list(itertools.accumulate(len(at) for at in chosen))
        pixels = torch.cat([rank.pixels[at] for rank, at in zip(ranks, chosen)])
        own_scores = torch.cat([rank.scores[at] for rank, at in zip(ranks, chosen)])
        del chosen
        own = boxes(label)
        if own.shape != (4, *shape):
            raise ValueError(f'boxes must give (4, {shape[0]}, {shape[1]}) for a class, got '
                             f'{tuple(own.shape)} for {label}.')
        # .T of a contiguous (4, P): a quarter of the time of an index into rows of four
        own = own.detach().flatten(1)[:, pixels].T.contiguous()
        numbers, areas, own_means, own_best = _cluster_masks(
            own, own_scores, counts, iou_thr, min_size, implementation)
        del own, own_scores
        left = _suppress(numbers, areas, own_means, region_iou)
        members += _collect_pixels(pixels, numbers, left).split(areas[left].tolist())
        labels += [label] * (len(members) - len(labels))
        means.append(own_means[left])
        best.append(own_best[left])
    none = torch.empty(0, 4, device=ranks[0].scores.device)
    return _Hypotheses(members, labels, torch.cat(means or [none[:, 0]]), torch.cat(best or [none]))


def _cluster_masks(boxes: Tensor, scores: Tensor, counts: List[int], iou_thr: float, min_size: int,
                   implementation: Optional[str]) -> Tuple[List[Tensor], Tensor, Tensor, Tensor]:
    """Cluster the masks of a class.

    Args:
        boxes (Tensor): Of its pixels in all masks, in the order of their ranks, (P, 4).
        scores (Tensor): (P,).
        counts (list[int]): How many of them each mask has, (n,).
        iou_thr, min_size, implementation: As in :func:`pixel_instances`.

    Returns:
        tuple: For each mask that differs from the one before the hypothesis of each of its pixels,
        int32, -1 for none; of all G hypotheses the areas (G,), scores (G,) and boxes (G, 4).
    """
    numbers, areas, means, best = [], [], [], []
    total = 0
    for count, before in zip(counts, [0, *counts]):
        if count < min_size or count == before:
            continue
        keep, cluster = cluster_pixel_boxes(
            boxes[:count], scores[:count], iou_thr, implementation=implementation)
        area = torch.bincount(cluster, minlength=len(keep))
        sums = torch.bincount(cluster, scores[:count].double(), minlength=len(keep))
        large = area >= min_size
        position = (large.cumsum(0) - 1 + total).masked_fill_(~large, -1).int()
        numbers.append(position[cluster])
        areas.append(area[large])
        means.append((sums[large] / areas[-1]).float())
        best.append(boxes[keep[large]])
        total += len(areas[-1])
    return numbers, *(torch.cat(x) for x in (areas, means, best))


def _collect_pixels(pixels: Tensor, numbers: List[Tensor], left: Tensor) -> Tensor:
    """Collect the pixels of the hypotheses that are left, one hypothesis after the other.

    Args:
        pixels (Tensor): Pixels of a class in all masks, (P,) int32.
        numbers (list[Tensor]): As from :func:`_cluster_masks`.
        left (Tensor): Which hypotheses are left, (G,) bool.

    Returns:
        Tensor: int32.
    """
    left = torch.cat([left, left.new_zeros(1)])  # the last is of -1
    collected = []
    for number in numbers:
        members = left[number].nonzero().squeeze(1)
        members = members[number[members].argsort(stable=True)]
        collected.append(pixels[members])
    return torch.cat(collected)


def _suppress(numbers: List[Tensor], areas: Tensor, scores: Tensor, region_iou: float) -> Tensor:
    """Suppress hypotheses that overlap a better one.

    Args:
        numbers (list[Tensor]): The hypothesis of each pixel in each mask, -1 for none; a longer
            mask begins with the pixels of a shorter one.
        areas (Tensor): Pixels of each hypothesis, (G,) int64.
        scores (Tensor): (G,).
        region_iou (float): Largest IoU of two that are left.

    Returns:
        Tensor: Which are left, (G,) bool.
    """
    rivals = {}
    # In one mask they have no pixel in common.
    for b in range(1, len(numbers)):
        for a in range(b):
            one, other = numbers[a], numbers[b][:len(numbers[a])]
            both = (one >= 0) & (other >= 0)
            pairs, shared = (one[both].long() * len(areas) + other[both]).unique(return_counts=True)
            i, j = pairs // len(areas), pairs % len(areas)
            close = shared > region_iou * (areas[i] + areas[j] - shared)
            for first, second in zip(i[close].tolist(), j[close].tolist()):
                rivals.setdefault(first, []).append(second)
                rivals.setdefault(second, []).append(first)
    suppressed = set()
    for i in scores.sort(descending=True, stable=True).indices.tolist() if rivals else ():
        if i not in suppressed:
            suppressed.update(rivals.get(i, ()))
    left = torch.ones_like(areas, dtype=torch.bool)
    left[list(suppressed)] = False
    return left


def _paint(found: _Hypotheses, shape: Sequence[int], most: int) -> PixelInstances:
    """Put the hypotheses of all classes in order and paint the masks of the first ``most``."""
    order = found.scores.sort(descending=True, stable=True).indices[:most]
    masks = torch.zeros((len(order), *shape), dtype=torch.bool, device=order.device)
    for mask, i in zip(masks.flatten(1), order.tolist()):
        mask[found.pixels[i]] = True
    labels = torch.tensor(found.labels, dtype=torch.int64, device=order.device)
    return PixelInstances(masks, labels[order], found.scores[order], found.boxes[order])


def _check_logits(logits: Tensor, n: int, min_score: float) -> None:
    check_tensors(logits=logits)
    if logits.ndim != 3 or not 2 <= len(logits) < MOST_CLASSES or not logits.is_floating_point():
        raise ValueError('logits must be floating-point (C, H, W) with two classes at least, got '
                         f'{logits.dtype} {tuple(logits.shape)}.')
    check_whole('n', n, 1)
    _check_share('min_score', min_score)


def _check_maps(classes: Tensor, scores: Tensor) -> None:
    check_tensors(classes=classes, scores=scores)
    if classes.ndim != 3 or classes.shape != scores.shape or len(classes) == 0:
        raise ValueError('classes and scores must both be (n, H, W) with an n of at least 1, got '
                         f'{tuple(classes.shape)} and {tuple(scores.shape)}.')
    signed = torch.int8, torch.int16, torch.int32, torch.int64
    if classes.dtype not in signed or not scores.is_floating_point():
        raise ValueError('classes must be signed integers and scores floating-point numbers, got '
                         f'{classes.dtype} and {scores.dtype}.')


def _check_background(background: Sequence[int]) -> None:
    for label in background:
        check_whole('a class of background', label, 0, MOST_CLASSES - 1)


def _check_share(name: str, value: float) -> None:
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise ValueError(f'{name} must be from 0 to 1, got {value!r}.')
