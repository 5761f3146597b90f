"""Cross entropy of all pixels, evaluated once for each group of pixels with the same scores."""
from typing import List, Optional, Tuple, Union

import torch
from torch import Tensor

from .checks import check_tensors


def grouped_cross_entropy(logits: Tensor,
                          label_counts: Tensor,
                          class_weight: Optional[Union[Tensor, List[float]]] = None) -> Tensor:
    r"""Compute the loss of all pixels from the labels that are counted in each cell.

    .. math:: L = \frac{\sum_{s, c} n_{s, c} w_c (-\log p_{s, c})}{\sum_{s, c} n_{s, c} w_c}

    All pixels of a cell have the same scores, so this equals ``F.cross_entropy`` of the pixels,
    with the same class weights, up to rounding. Source: Sec. 3.4 (weights that sum to 1 over the
    labelled pixels of an image) and 3.5 of `Region-based semantic segmentation with end-to-end
    training <https://arxiv.org/abs/1607.07671>`_.

    Args:
        logits (Tensor): Scores of S cells and C classes, (S, C).
        label_counts (Tensor): n: how many pixels of a cell have each label, (S, C).
        class_weight (Tensor | list[float], optional): w, (C,). Defaults to None: all 1.

    Returns:
        Tensor: A scalar, float32 for half precision; 0 with a gradient graph if no pixel counts.

    Raises:
        ValueError: If the shapes or types do not fit.

    Example:
        >>> logits = torch.tensor([[0., 0.], [0., 0.]])
        >>> grouped_cross_entropy(logits, torch.tensor([[10, 2], [0, 500]]))
        tensor(0.6931)
    """
    check_tensors(logits=logits, label_counts=label_counts)
    if not logits.is_floating_point() or label_counts.is_complex():
        raise ValueError('logits must be floating-point and label_counts real numbers, got '
                         f'{logits.dtype} and {label_counts.dtype}.')
    if logits.ndim != 2 or logits.shape != label_counts.shape:
        raise ValueError('logits and label_counts must both be (S, C), got '
                         f'{tuple(logits.shape)} and {tuple(label_counts.shape)}.')
    log_p = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=1)
    loss, weight = grouped_nll(log_p, label_counts, class_weight)
    return loss / weight.where(weight > 0, torch.ones_like(weight))


def grouped_nll(log_p: Tensor,
                label_counts: Tensor,
                class_weight: Optional[Union[Tensor, List[float]]] = None) -> Tuple[Tensor, Tensor]:
    """Sum the negative log likelihoods of all pixels, and their weights.

    Args:
        log_p (Tensor): Logarithms of probabilities of S cells and C classes, (S, C).
        label_counts (Tensor): How many pixels of a cell have each label, (S, C).
        class_weight (Tensor | list[float], optional): (C,). Defaults to None: all 1.

    Returns:
        tuple[Tensor, Tensor]: The weighted sum and the sum of the weights, scalars, float32 for
        half precision.

    Raises:
        ValueError: If there is not one weight for each class.
    """
    log_p = log_p.to(torch.promote_types(log_p.dtype, torch.float32))  # counts are large
    weight = label_counts.to(log_p.dtype)
    if class_weight is not None:
        class_weight = torch.as_tensor(class_weight, dtype=log_p.dtype, device=log_p.device)
        if class_weight.shape != log_p.shape[1:]:
            raise ValueError(f'class_weight must have one number for each of the {log_p.size(1)} '
                             f'classes, got shape {tuple(class_weight.shape)}.')
        weight = weight * class_weight
    # an impossible class that no pixel has is no loss: 0 * inf
    return -(weight * log_p.masked_fill(weight == 0, 0)).sum(), weight.sum()
