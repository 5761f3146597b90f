"""Bilinear enlargement as two sparse matrices, one for the rows and one for the columns."""
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from .library import accumulation_dtype, widest_float


class Axis(NamedTuple):
    """One direction of an enlargement: position i is a weighted sum of neighbours in the small map.

    Attributes:
        first (Tensor): (out,) int32, the first of the neighbours.
        weight (Tensor): (taps, out) float64, of neighbour ``first + k`` in row k.
    """
    first: Tensor
    weight: Tensor

    @property
    def size(self) -> int:
        """Number of positions, ``out``."""
        return self.first.numel()

    def crop(self, begin: int, end: int) -> 'Axis':
        """Keep the positions from ``begin`` to ``end - 1``."""
        return Axis(self.first[begin:end], self.weight[:, begin:end])

    def flip(self) -> 'Axis':
        """Reverse the order of the positions."""
        return Axis(self.first.flip(0), self.weight.flip(1))

    def then(self, outer: 'Axis') -> 'Axis':
        """Join this step and the one behind it, whose small map is the large one here.

        The product of two band matrices is a band matrix; its rows begin where the first
        neighbour's neighbours do.
        """
        if self.size == 0 or outer.size == 0:
            return Axis(outer.first, self.weight.new_zeros(1, outer.size))
        steps = torch.arange(outer.weight.size(0), device=self.first.device)
        middle = outer.first.long() + steps[:, None]  # (taps of the outer, out)
        first = self.first.long()[middle]
        begin = first.amin(0)
        inner_taps = self.weight.size(0)
        taps = int((first.amax(0) - begin).max()) + inner_taps
        weight = self.weight.new_zeros(taps, outer.size)
        for tap in range(inner_taps):
            weight.scatter_add_(0, first - begin + tap, outer.weight * self.weight[tap][middle])
        # no neighbour beyond the small map: where a row ends early, it begins early too
        end = int(self.first.max()) + inner_taps
        shift = (begin + taps - end).clamp_min(0)
        source = torch.arange(taps, device=begin.device)[:, None] - shift
        weight = weight.gather(0, source.clamp_min(0)).where(source >= 0, weight.new_zeros(()))
        return Axis((begin - shift).int(), weight)

    def tensors(self, dtype: torch.dtype, device: torch.device) -> Tuple[Tensor, Tensor]:
        """Bring both to a device, the weights to a type."""
        return self.first.to(device), self.weight.to(dtype).to(device)


def bilinear_axis(small: int, large: int, align_corners: bool,
                  device: Optional[torch.device] = None) -> Axis:
    """Make one direction of ``F.interpolate(mode='bilinear')`` to a given size.

    The weights are computed in float64 (float32 on MPS), where PyTorch has the type of the map. The
    small size is at least 1. Made on a GPU (``device``), nothing has to be copied there.
    """
    device = torch.device('cpu') if device is None else device
    at = torch.arange(large, dtype=widest_float(device), device=device)
    if align_corners:
        at = at * ((small - 1) / max(large - 1, 1))
    else:
        at = ((at + 0.5) * (small / max(large, 1)) - 0.5).clamp_min(0)
    if small == 1:
        return Axis(torch.zeros_like(at, dtype=torch.int32), torch.ones_like(at)[None])
    first = at.long().clamp_max(small - 2)
    high = (at - first).clamp_max(1)  # beyond the last position there is nothing else than it
    return Axis(first.int(), torch.stack([1 - high, high]))


def enlargement(logits: Tensor, size: Sequence[int],
                align_corners: bool) -> Tuple[Tuple[Tensor, Tensor], Tuple[Tensor, Tensor]]:
    """Make the tensors of both axes for ``F.interpolate(logits, size)``: rows, then columns."""
    return tuple(
        bilinear_axis(max(small, 1), large, align_corners, logits.device).tensors(
            accumulation_dtype(logits), logits.device)
        for small, large in zip(logits.shape[2:], size))


def enlarge(maps: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Enlarge maps (N, C, h, w) as a whole, in plain PyTorch: (N, C, H, W).

    Where a weight is 0 nothing is added: 0 times infinity would be NaN.
    """
    for axis, dim in ((rows, 2), (columns, 3)):
        shape = [1] * 4
        shape[dim] = axis.size
        parts = []
        for tap, weight in enumerate(axis.weight):
            weight = weight.reshape(shape)
            part = maps.index_select(dim, axis.first.long() + tap)
            parts.append(torch.where(weight == 0, part.new_zeros(()), part) * weight)
        maps = sum(parts)
    return maps
