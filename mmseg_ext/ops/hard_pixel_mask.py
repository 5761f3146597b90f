"""Which pixels a bootstrapped loss keeps."""
from typing import Optional

import torch
from torch import Tensor

from . import library
from .checks import check_tensors


def hard_pixel_mask(difficulty: Tensor,
                    valid: Tensor,
                    *,
                    thresh: Optional[float] = None,
                    min_kept: Optional[int] = None,
                    per_image: bool = False,
                    implementation: Optional[str] = None) -> Tensor:
    """Select the hard pixels of a batch.

    Pixels with a difficulty above the threshold are kept; where these are fewer than ``min_kept``,
    the ``min_kept`` hardest instead. Source: the rule below Eq. 1 of `Bridging Category-level and
    Instance-level Semantic Image Segmentation <https://arxiv.org/abs/1605.06885>`_.

    Args:
        difficulty (Tensor): The higher, the harder, such as a loss or 1 - IoU; (N, ...).
        valid (Tensor): Bool, same shape. Other pixels are never kept.
        thresh (float, optional): Pixels strictly above are kept. Defaults to None: none is, unless
            ``min_kept`` is None too, then all valid pixels are.
        min_kept (int, optional): Least number of kept pixels. Defaults to None: no least number.
        per_image (bool): Whether ``min_kept`` pixels are kept of every image instead of the whole
            batch. Defaults to False.
        implementation (str, optional): ``'cpp'`` or ``'reference'``, None for the fastest.

    Returns:
        Tensor: Bool, same shape.

    Raises:
        ValueError: If the shapes differ or ``min_kept`` is below 1.

    Note:
        Of equally hard pixels the first in memory order are kept, so that there are exactly
        ``min_kept``; all valid pixels if there are fewer. A difficulty of NaN counts as infinite.

    Example:
        >>> difficulty = torch.tensor([[0.9, 0.1, 0.5, 0.5]])
        >>> hard_pixel_mask(difficulty, difficulty > 0, thresh=0.8, min_kept=2)
        tensor([[ True, False,  True, False]])
    """
    min_kept = check_min_kept(min_kept)
    check_tensors(difficulty=difficulty, valid=valid)
    thresh = None if thresh is None else float(thresh)
    if difficulty.shape != valid.shape:
        raise ValueError(f'difficulty and valid must have one shape, got {tuple(difficulty.shape)} '
                         f'and {tuple(valid.shape)}.')
    # no gradient flows through a selection
    difficulty, valid = difficulty.detach().contiguous(), valid.bool().contiguous()
    if difficulty.dtype not in (torch.float32, torch.float64):
        difficulty = difficulty.float()
    return OP(difficulty, valid, thresh, min_kept, per_image, implementation=implementation)


def check_min_kept(min_kept: Optional[float]) -> Optional[int]:
    """Give a number of pixels as an integer, which the kernels take; 3.0 is one.

    Raise a ValueError unless it is a whole number of at least 1, or None.
    """
    if min_kept is None:
        return None
    # an infinite number has no remainder
    if isinstance(min_kept, str) or not 1 <= min_kept < 1 << 63 or min_kept % 1 != 0:
        raise ValueError(f'min_kept must be a whole number of at least 1, or None; got {min_kept}.')
    return int(min_kept)


def reference(difficulty: Tensor, valid: Tensor, thresh: Optional[float],
              min_kept: Optional[int], per_image: bool) -> Tensor:
    """Select in plain PyTorch (arguments as ``hard_pixel_mask``)."""
    # written so that NaN is above
    over = None if thresh is None else valid & ~(difficulty <= thresh)
    return keep_hard(difficulty, valid, over, min_kept, per_image)


def keep_hard(difficulty: Tensor, valid: Tensor, over: Optional[Tensor], min_kept: Optional[int],
              per_image: bool) -> Tensor:
    """Keep the pixels over the threshold, or the ``min_kept`` hardest where these are more.

    All are (N, ...); `over` is None where there is no threshold.
    """
    if min_kept is None or difficulty.numel() == 0:
        return valid if over is None else over
    groups = difficulty.size(0) if per_image else 1
    hardest = _hardest(difficulty.reshape(groups, -1), valid.reshape(groups, -1), min_kept)
    if over is not None:
        over = over.reshape(groups, -1)
        enough = over.sum(dim=1, keepdim=True) >= min_kept
        hardest = torch.where(enough, over, hardest)
    return hardest.reshape(valid.shape)


def _hardest(difficulty: Tensor, valid: Tensor, count: int) -> Tensor:
    """Of each row exactly min(count, valid) pixels: the hardest, ties in memory order."""
    size = difficulty.size(1)
    difficulty = difficulty.masked_fill(difficulty.isnan(), torch.inf)
    difficulty = difficulty.masked_fill(~valid, -torch.inf)
    # not kthvalue, which on a GPU gives a row to one block of threads
    kth = difficulty.topk(min(count, size), dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above = difficulty > kth
    ties = (difficulty == kth) & valid
    room = count - above.sum(dim=1, keepdim=True)
    return above | (ties & (ties.cumsum(dim=1) <= room))


OP = library.Op(
    'hard_pixel_mask(Tensor difficulty, Tensor valid, float? thresh, int? min_kept, '
    'bool per_image) -> Tensor',
    lambda difficulty, valid, *args: valid.new_empty(valid.shape),
    reference)
