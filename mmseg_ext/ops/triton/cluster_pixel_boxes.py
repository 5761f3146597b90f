"""mmseg_ext::cluster_pixel_boxes in Triton: a program a block of boxes, one program after another.

Whether a box is kept depends on all before it. So a launch takes one block, in score order: it
compares its boxes with those that earlier launches kept. Then it keeps the first box that has not
joined another, compares all with it, and so on: a step for each kept box, not for each box.
"""
from typing import Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..ordered_boxes import box_areas, score_order

#: Boxes of a launch: with 8 warps each thread has 4.
BLOCK = 1024


@triton.jit
def _overlap(a_x1, a_y1, a_x2, a_y2, a_area, b_x1, b_y1, b_x2, b_y2, b_area, iou_thr,
             IS_FLOAT: tl.constexpr):
    """Whether the IoU is above the threshold. Each step is rounded, as in the reference."""
    width = tl.maximum(tl.minimum(a_x2, b_x2) - tl.maximum(a_x1, b_x1), 0)
    height = tl.maximum(tl.minimum(a_y2, b_y2) - tl.maximum(a_y1, b_y1), 0)
    intersection = width * height
    union = a_area + b_area - intersection
    # the plain quotient of float32 is not the nearest number
    iou = tl.div_rn(intersection, union) if IS_FLOAT else intersection / union
    return (iou > iou_thr) & (tl.minimum(a_area, b_area) > 0)


@triton.jit(do_not_specialize=['first', 'count'])
def _kernel(x1, y1, x2, y2, area, threshold, keep, cluster, num_kept, first, count,
            IS_FLOAT: tl.constexpr, BLOCK: tl.constexpr):
    at = first + tl.arange(0, BLOCK)
    inside = at < count
    iou_thr = tl.load(threshold)
    a_x1, a_y1 = tl.load(x1 + at, mask=inside, other=0), tl.load(y1 + at, mask=inside, other=0)
    a_x2, a_y2 = tl.load(x2 + at, mask=inside, other=0), tl.load(y2 + at, mask=inside, other=0)
    a_area = tl.load(area + at, mask=inside, other=0)
    joined = tl.full([BLOCK], -1, tl.int32)
    kept = tl.load(num_kept)
    for k in range(0, kept):
        i = tl.load(keep + k)
        joins = _overlap(a_x1, a_y1, a_x2, a_y2, a_area, tl.load(x1 + i), tl.load(y1 + i),
                         tl.load(x2 + i), tl.load(y2 + i), tl.load(area + i), iou_thr, IS_FLOAT)
        joined = tl.where((joined < 0) & joins, k, joined)
    i = tl.min(tl.where(joined < 0, at, count), 0)
    while i < count:  # else no box is left
        # What this launch keeps is not read from memory, where other threads may not see it yet.
        tl.store(keep + kept, i)
        joins = _overlap(a_x1, a_y1, a_x2, a_y2, a_area, tl.load(x1 + i), tl.load(y1 + i),
                         tl.load(x2 + i), tl.load(y2 + i), tl.load(area + i), iou_thr, IS_FLOAT)
        joined = tl.where((joined < 0) & (joins | (at == i)), kept, joined)
        kept += 1
        i = tl.min(tl.where(joined < 0, at, count), 0)
    tl.store(cluster + at, joined, mask=inside)
    tl.store(num_kept, kept)


def forward(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tuple[Tensor, Tensor]:
    """Cluster boxes (P, 4) with scores (P,), float32 or float64: keep (Q,), cluster (P,) int64.

    Waits for the GPU once, to learn Q.
    """
    order, count = score_order(scores), scores.numel()
    columns = *boxes[order].t().contiguous(), box_areas(boxes, scores)[order]
    threshold = boxes.new_full((1, ), iou_thr)  # a number would arrive as float32
    keep, joined = order.new_empty(2, count, dtype=torch.int32)
    num_kept = order.new_zeros(1, dtype=torch.int32)
    with torch.cuda.device_of(boxes):
        for first in range(0, count, BLOCK):
            # fusion: a product that is subtracted without being rounded
            _kernel[(1, )](*columns, threshold, keep, joined, num_kept, first, count,
                           IS_FLOAT=boxes.dtype == torch.float32, BLOCK=BLOCK, num_warps=8,
                           enable_fp_fusion=False)
    cluster = torch.empty_like(order)
    cluster[order] = joined.long()
    return order[keep[:int(num_kept)].long()], cluster
