"""What the implementations of the clustering of boxes agree on before they compare boxes."""
import torch
from torch import Tensor


def box_areas(boxes: Tensor, scores: Tensor) -> Tensor:
    """Areas of boxes (P, 4), (P,); 0 for a box that none can join.

    It has no area, is not finite or has a score of NaN.
    """
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(dim=1)
    areas = width * height
    counts = (width > 0) & (height > 0) & areas.isfinite() & ~scores.isnan()
    return areas.where(counts, areas.new_zeros(()))


def score_order(scores: Tensor) -> Tensor:
    """Indices from the highest score to the lowest, equal ones in order, NaN as -inf: (P,)."""
    lowest = scores.masked_fill(scores.isnan(), -torch.inf)
    return lowest.sort(descending=True, stable=True).indices
