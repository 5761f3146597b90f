"""mmseg_ext::semantic_edges in Triton: a program takes a part of a row and looks around it."""
import torch
import triton
import triton.language as tl
from torch import Tensor

# Most pixels of a program: with 4 warps each thread has 8.
MAX_BLOCK = 1024


@triton.jit(do_not_specialize=['ignored', 'height'])
def _kernel(labels, edges, ignored, height, width, BLOCK: tl.constexpr):
    # 64 bits: times the width this becomes an offset, which may be 2^31 and more
    row = tl.program_id(0).to(tl.int64)
    y = row % height
    x = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = x < width
    at = row * width + x
    # Comparisons in 64 bits: ignored may be a number that the type of the labels cannot hold.
    here = tl.load(labels + at, mask=inside, other=0).to(tl.int64)
    edge = tl.full([BLOCK], 0, tl.int1)
    for down in tl.static_range(-1, 2):
        end = tl.where((y + down >= 0) & (y + down < height), width, 0)
        for right in tl.static_range(-1, 2):
            exists = (x + right >= 0) & (x + right < end)
            there = tl.load(labels + at + down * width + right, mask=exists, other=0).to(tl.int64)
            edge = edge | (exists & (there != here) & (there != ignored))
    edge = edge & (here != ignored)
    tl.store(edges + at, edge.to(tl.uint8), mask=inside)


def forward(labels: Tensor, ignore_index: int) -> Tensor:
    """Find the pixels with a neighbour of another label: contiguous integers (N, H, W) -> bool."""
    edges = torch.empty_like(labels, dtype=torch.bool)
    if labels.numel() > 0:
        images, height, width = labels.shape
        block = min(MAX_BLOCK, triton.next_power_of_2(width))
        with torch.cuda.device_of(labels):
            _kernel[images * height, triton.cdiv(width, block)](
                labels, edges.view(torch.uint8), ignore_index, height, width, BLOCK=block)
    return edges
