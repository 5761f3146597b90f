"""Greedy suppression of pixel boxes that says which kept box each pixel joins."""
from numbers import Real
from typing import Optional, Tuple

import torch
from torch import Tensor

from . import library
from .checks import check_tensors
from .ordered_boxes import box_areas, score_order


def cluster_pixel_boxes(boxes: Tensor,
                        scores: Tensor,
                        iou_thr: float,
                        *,
                        implementation: Optional[str] = None) -> Tuple[Tensor, Tensor]:
    """Cluster the boxes that pixels predict: greedy suppression that keeps what it suppressed.

    Steps 4 and 5 of section 2.1 of `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_: a kept box and the pixels that it suppressed
    are an instance hypothesis. Boxes are taken from the highest score to the lowest. A box joins
    the first kept one, in this order, whose IoU with it is above the threshold; else it is kept.

    Args:
        boxes (Tensor): (P, 4), x1, y1, x2, y2 in any unit. A side is x2 - x1, without "+ 1".
        scores (Tensor): (P,). Of equal scores the lower index comes first.
        iou_thr (float): From 0 to 1.
        implementation (str, optional): ``'cpp'`` (CPU), ``'triton'`` (CUDA) or ``'reference'``;
            None for the fastest that the device has.

    Returns:
        tuple[Tensor, Tensor]: ``keep`` (Q,) int64, the indices of the kept boxes in score order,
        which are those of plain non-maximum suppression, and ``cluster`` (P,) int64, for every box
        the position in ``keep`` of the box that it joins, for a kept box its own.

    Raises:
        ValueError: If shapes or types do not fit, or ``iou_thr`` is not from 0 to 1.
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        A box without an area (x2 <= x1 or y2 <= y1), with a coordinate or area that is NaN or
        infinite, or with a score of NaN is kept, and no other box joins it. A score of NaN comes
        last, among those of -inf.

        All implementations compute areas and IoU in float32 (float64 where boxes or scores are)
        and decide alike to the last bit. Results are indices, without a gradient. Time is P times
        Q at most, memory P plus Q.

    Example:
        >>> boxes = torch.tensor([[0., 0, 4, 4], [9, 9, 12, 12], [0, 0, 4, 3], [9, 8, 12, 12]])
        >>> cluster_pixel_boxes(boxes, torch.tensor([0.7, 0.5, 0.9, 0.8]), 0.5)
        (tensor([2, 3]), tensor([0, 1, 0, 1]))
    """
    check_tensors(boxes=boxes, scores=scores)
    if boxes.ndim != 2 or boxes.size(1) != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError('boxes must be (P, 4) and scores (P,) with the same P, got '
                         f'{tuple(boxes.shape)} and {tuple(scores.shape)}.')
    if not boxes.is_floating_point() or not scores.is_floating_point():
        raise ValueError('boxes and scores must be floating-point tensors, got '
                         f'{boxes.dtype} and {scores.dtype}.')
    if not isinstance(iou_thr, Real) or not 0 <= iou_thr <= 1:
        raise ValueError(f'iou_thr must be from 0 to 1, got {iou_thr!r}.')
    wide = torch.float64 in (boxes.dtype, scores.dtype)
    boxes, scores = (x.detach().to(torch.float64 if wide else torch.float32).contiguous()
                     for x in (boxes, scores))
    return OP(boxes, scores, float(iou_thr), implementation=implementation)


def reference(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tuple[Tensor, Tensor]:
    """Suppress one box after the other (arguments as ``cluster_pixel_boxes``)."""
    areas = box_areas(boxes, scores)
    cluster = torch.full_like(scores, -1, dtype=torch.int64)
    keep = []
    for i in score_order(scores).tolist():
        if cluster[i] < 0:
            # no box with a higher score is without a cluster
            joins = (cluster < 0) & (_iou(i, boxes, areas) > iou_thr)
            joins[i] = True
            cluster[joins] = len(keep)
            keep.append(i)
    return cluster.new_tensor(keep), cluster


def _iou(i: int, boxes: Tensor, areas: Tensor) -> Tensor:
    """IoU of box i with all boxes, (P,); 0 with those whose area is given as 0."""
    low, high = boxes[:, :2].maximum(boxes[i, :2]), boxes[:, 2:].minimum(boxes[i, 2:])
    width, height = (high - low).clamp(min=0).unbind(dim=1)
    intersection = width * height
    iou = intersection / (areas + areas[i] - intersection)
    return iou.where((areas > 0) & (areas[i] > 0), iou.new_zeros(()))


def fake(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tuple[Tensor, Tensor]:
    """Results of the right form; how many boxes are kept depends on their values."""
    kept = torch.library.get_ctx().new_dynamic_size()
    return tuple(boxes.new_empty(size, dtype=torch.int64) for size in (kept, boxes.size(0)))


OP = library.Op(
    'cluster_pixel_boxes(Tensor boxes, Tensor scores, float iou_thr) -> (Tensor, Tensor)',
    fake,
    reference,
    triton='cluster_pixel_boxes.forward',
    dynamic=True)
