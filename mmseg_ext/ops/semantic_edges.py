"""Which pixels lie at the boundary of a semantic region."""
from typing import Optional

import torch
from torch import Tensor

from . import library
from .checks import check_ignore_index, check_tensors, is_integer

#: Types of labels that the kernels read; others are converted.
READABLE = (torch.uint8, torch.int16, torch.int32, torch.int64)
#: From a pixel to half of its neighbours (down, right): as many pairs as there are, each once.
NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1))


def semantic_edges(labels: Tensor,
                   ignore_index: int = 255,
                   *,
                   implementation: Optional[str] = None) -> Tensor:
    """Find the pixels that have a neighbour of another label.

    E* of `SEMEDA: Enhancing Segmentation Precision with Semantic Edge Aware Loss
    <https://doi.org/10.1016/j.patcog.2020.107557>`_, section 3.3: a pixel is an edge unless all of
    its 8 neighbours carry its label. So a boundary is two pixels wide, one on each side. The paper
    leaves open what is at the border of the image and beside pixels without a label: here neither
    pixels outside of the image nor ignored ones count as neighbours.

    Args:
        labels (Tensor): Integers, (N, H, W).
        ignore_index (int): Label of the pixels that are neither edges nor neighbours. Defaults
            to 255.
        implementation (str, optional): ``'cpp'`` (CPU), ``'triton'`` (CUDA) or ``'reference'``;
            None for the fastest that the device has.

    Returns:
        Tensor: Bool, (N, H, W).

    Raises:
        ValueError: If the labels are not integers (N, H, W).
        RuntimeError: If ``implementation`` is asked for and is not there.

    Note:
        The labels need not be classes: the edges of a map of instances or regions are found as
        well. ``GenerateEdge`` of mmseg is something else: it marks one side of a boundary, dilated.

    Example:
        >>> semantic_edges(torch.tensor([[[0, 0, 0, 1, 255]]]))
        tensor([[[False, False,  True,  True, False]]])
    """
    check_tensors(labels=labels)
    ignore_index = check_ignore_index(ignore_index)
    if labels.ndim != 3 or not is_integer(labels):
        raise ValueError('labels must be an integer tensor (N, H, W), got '
                         f'{labels.dtype} {tuple(labels.shape)}.')
    labels = (labels if labels.dtype in READABLE else labels.long()).contiguous()
    return OP(labels, ignore_index, implementation=implementation)


def reference(labels: Tensor, ignore_index: int) -> Tensor:
    """Compare pairs of neighbours in plain PyTorch (arguments as ``semantic_edges``)."""
    height, width = labels.shape[1:]
    known = labels.long() != ignore_index  # to uint8 labels, 256 would be 0
    edges = torch.zeros_like(known)
    for down, right in NEIGHBOURS:
        left = max(-right, 0)
        here = (..., slice(height - down), slice(left, width - max(right, 0)))
        there = (..., slice(down, height), slice(left + right, width - left))
        differ = (labels[here] != labels[there]) & known[here] & known[there]
        edges[here] |= differ
        edges[there] |= differ
    return edges


OP = library.Op(
    'semantic_edges(Tensor labels, int ignore_index) -> Tensor',
    lambda labels, ignore_index: labels.new_empty(labels.shape, dtype=torch.bool),
    reference,
    triton='semantic_edges.forward')
