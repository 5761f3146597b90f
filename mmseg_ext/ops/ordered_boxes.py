"""What the implementations of the clustering of boxes agree on before they compare boxes."""
import torch
from torch import Tensor


def box_areas(boxes: Tensor, scores: Tensor) -> Tensor:
    """Areas of boxes (P, 4), (P,); 0 if no box can join it, for want of an area or of a score.

    A box with two negative sides overlaps no other, and one with an infinite area has no IoU above
    0: neither needs a mark.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    return areas.where((areas > 0) & ~scores.isnan(), areas.new_zeros(()))


def score_order(scores: Tensor) -> Tensor:
    """Indices from the highest score to the lowest, equal ones in order, NaN as -inf: (P,)."""
    lowest = scores.masked_fill(scores.isnan(), -torch.inf)
    return lowest.sort(descending=True, stable=True).indices
