"""The scores of pixels from the scores of the regions that contain them."""
from typing import Optional

import torch
from torch import Tensor

from .checks import check_index, check_tensors
from .gather_max import gather_max


def region_to_pixel(scores: Tensor,
                    indptr: Tensor,
                    indices: Tensor,
                    *,
                    decay: float = 0.0,
                    implementation: Optional[str] = None) -> Tensor:
    r"""Give each cell, for each class, the highest score of the regions that contain it.

    .. math:: S_{p, c} = \max_{r \ni p} S_{r, c}

    Source: Eq. 3 to 5 of `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_. All pixels of a cell (superpixel) lie in the same regions,
    so a cell is evaluated once. The paper leaves open what a pixel in no region gets: here the
    lowest score of the image, as in the authors' code.

    Args:
        scores (Tensor): Scores of R regions and C classes, (R, C).
        indptr (Tensor): (S + 1,) int64: the regions of cell s are
            ``indices[indptr[s]:indptr[s + 1]]``.
        indices (Tensor): (nnz,) int64.
        decay (float): The soft variant of the authors' code: a cell's scores are ranked and
            averaged with weights proportional to decay ** rank. 0 (default) is the maximum, 1 the
            mean.
        implementation (str, optional): As in ``gather_max``; the soft variant has one only.

    Returns:
        Tensor: (S, C). The gradient of the maximum goes to one region, the first.

    Raises:
        ValueError: If ``decay`` is not in [0, 1], the shapes or types do not fit or, on a CPU, the
            index is not one of the regions.

    Example:
        >>> scores = torch.tensor([[1., 5.], [2., 4.]])  # cell 0 is in both regions, 1 in none
        >>> region_to_pixel(scores, torch.tensor([0, 2, 2]), torch.tensor([0, 1]))
        tensor([[2., 5.],
                [1., 1.]])
    """
    if not 0 <= decay <= 1:
        raise ValueError(f'decay must be in [0, 1], got {decay}.')
    if decay == 0:
        pixels = gather_max(scores, indptr, indices, implementation=implementation)
    else:
        check_tensors(scores=scores)
        if scores.ndim != 2 or not scores.is_floating_point():
            raise ValueError('scores must be a floating-point tensor (R, C), got '
                             f'{scores.dtype} {tuple(scores.shape)}.')
        check_index(indptr, indices, len(scores), of='regions')
        pixels = _ranked_mean(scores, indptr.long(), indices.long(), decay)
    if scores.numel() == 0:
        return pixels
    alone = indptr.long().diff() == 0
    return torch.where(alone[:, None], scores.min(), pixels)


def _ranked_mean(scores: Tensor, indptr: Tensor, indices: Tensor, decay: float) -> Tensor:
    sizes = indptr.diff()
    cell = torch.repeat_interleave(torch.arange(len(sizes), device=scores.device), sizes)
    values = scores[indices]
    # by cell, then from the highest score on: two stable sorts
    order = values.detach().argsort(dim=0, descending=True, stable=True)
    order = order.gather(0, cell[order].argsort(dim=0, stable=True))
    rank = torch.arange(len(indices), device=scores.device) - indptr[cell]
    weight = torch.as_tensor(decay, dtype=scores.dtype, device=scores.device) ** rank
    total = weight.new_zeros(len(sizes)).index_add(0, cell, weight)
    weighted = values.gather(0, order) * (weight / total[cell])[:, None]
    return scores.new_zeros(len(sizes), scores.size(1)).index_add(0, cell, weighted)
