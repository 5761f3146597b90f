"""Benchmark cases of the region method.

Shapes: R regions, S cells (superpixels), C classes.
"""
from typing import Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import DATASETS
from torch import Tensor

from mmseg_ext.ops import (
    gather_max,
    grouped_cross_entropy,
    hierarchical_regions,
    region_to_pixel,
    transpose_index,
)

from .case import Case, benchmark, sizes


@benchmark('hierarchical_regions')
def regions_of_an_image(device: str, small: bool = False) -> Case:
    """Proposals of a scene, against our reference and against their superpixels alone.

    The superpixels are scikit-image's and part of both runs of ours, which are on the CPU.
    """
    from skimage.segmentation import felzenszwalb
    size = (48, 64) if small else (256, 256)
    scene = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))[0]
    image = np.ascontiguousarray(scene['img'][..., ::-1])

    def ours():
        return hierarchical_regions(image)

    def reference():
        return hierarchical_regions(image, implementation='reference')

    def superpixels() -> np.ndarray:
        return felzenszwalb(image, scale=100, sigma=0.8, min_size=100)

    def parity() -> None:
        for found, expected in zip(ours(), reference()):
            assert np.array_equal(found, expected)
        assert np.array_equal(ours().cells, superpixels())

    return Case(
        inputs=f'scene of {sizes(size)}, RGB, {len(ours().indptr) - 1} regions',
        phase='one image',
        runs={
            'ours': ours,
            'ours: reference': reference,
            'scikit-image: superpixels alone': superpixels,
        },
        parity=parity)


@benchmark('gather_max')
def gather_max_of_bins(device: str, small: bool = False) -> Case:
    """The bins of 370 boxes on a map, against torch.sparse.mm and scatter_reduce.

    The boxes are divided into 7x7 bins as RoI pooling does it.
    """
    size, count, channels = (8, 5, 20) if small else (38, 370, 512)
    rng = np.random.default_rng(0)
    bins = []
    for _ in range(count):
        sides = []
        for _ in range(2):
            begin, end = np.sort(rng.choice(size + 1, 2, replace=False))
            edges = np.linspace(begin, end, 8)
            firsts, lasts = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
            sides.append(list(zip(firsts, lasts)))
        bins += [[y * size + x for y in range(*rows) for x in range(*columns)]
                 for rows in sides[0] for columns in sides[1]]
    lengths = [len(cells) for cells in bins]
    indptr = torch.tensor([0, *np.cumsum(lengths)], device=device)
    indices = torch.tensor([cell for cells in bins for cell in cells], device=device)
    torch.manual_seed(0)
    source = torch.randn(size * size, channels, device=device, requires_grad=True)
    weight = torch.randn(len(bins), channels, device=device)
    matrix = torch.sparse_csr_tensor(
        indptr, indices, torch.ones(len(indices), device=device), (len(bins), size * size))
    row = torch.repeat_interleave(indptr.diff())[:, None].expand(-1, channels)

    def scattered() -> Tensor:
        top = source.new_full((len(bins), channels), -torch.inf)
        return top.scatter_reduce(0, row, source[indices], 'amax')

    runs = {
        'ours': lambda: gather_max(source, indptr, indices),
        'PyTorch: sparse.mm, amax': lambda: torch.sparse.mm(matrix, source, reduce='amax'),
        'PyTorch: scatter_reduce, amax': scattered,
    }

    def parity() -> None:
        for run in runs.values():
            assert torch.equal(run(), runs['ours']())

    output = weight.nbytes
    return Case(
        inputs=f'{sizes(source.shape)} float32, {len(bins)} bins, {len(indices)} entries',
        runs={name: lambda run=run: _Receiver.apply(run(), weight) for name, run in runs.items()},
        gradients_of=(source, ),
        # the output is written; the backward reads it and its gradient
        floor_bytes={
            'forward': output + source.nbytes + indices.nbytes,
            'forward+backward': 3 * output + 3 * source.nbytes + 2 * indices.nbytes,
        },
        parity=parity)


class _Receiver(torch.autograd.Function):
    """A scalar made of an output, which then receives a given gradient, at no cost."""

    @staticmethod
    def forward(ctx, output, gradient):
        ctx.gradient = gradient
        return output.new_zeros(())

    @staticmethod
    def backward(ctx, _):
        return ctx.gradient, None


def random_regions(count: int, num_cells: int, device: str) -> Tuple[Tensor, Tensor]:
    """The regions of each cell: regions are runs of cells of all lengths, the last all of them."""
    rng = np.random.default_rng(0)
    lengths = np.geomspace(1, num_cells, count).astype(int)
    starts = [rng.integers(0, num_cells - length + 1) for length in lengths]
    cells = [torch.arange(start, start + length) for start, length in zip(starts, lengths)]
    indptr = torch.tensor([0, *lengths.cumsum()])
    return tuple(x.to(device) for x in transpose_index(indptr, torch.cat(cells), num_cells))


@benchmark('region_to_pixel', 'grouped_cross_entropy', 'transpose_index')
def region_to_pixel_loss(device: str, small: bool = False) -> Case:
    """Scores of regions to the loss of all pixels, against the same evaluated at every pixel."""
    count, num_cells, classes, side = (9, 20, 4, 24) if small else (370, 600, 33, 600)
    indptr, indices = random_regions(count, num_cells, device)
    torch.manual_seed(0)
    scores = torch.randn(count, classes, device=device, requires_grad=True)
    cells = torch.arange(side * side, device=device) * num_cells // (side * side)
    labels = torch.randint(0, classes, (side * side, ), device=device)
    counts = torch.bincount(cells * classes + labels, minlength=num_cells * classes)
    counts = counts.view(num_cells, classes)
    # the regions of each pixel
    pixel_sizes = indptr.diff()[cells]
    pixel_indptr = F.pad(pixel_sizes.cumsum(0), (1, 0))
    offset = torch.arange(int(pixel_indptr[-1]), device=device)
    offset -= pixel_indptr[:-1].repeat_interleave(pixel_sizes)
    pixel_indices = indices[indptr[:-1][cells].repeat_interleave(pixel_sizes) + offset]

    def ours() -> Tensor:
        return grouped_cross_entropy(region_to_pixel(scores, indptr, indices), counts)

    def per_pixel() -> Tensor:
        return F.cross_entropy(region_to_pixel(scores, pixel_indptr, pixel_indices), labels)

    def parity() -> None:
        values = [run() for run in (ours, per_pixel)]
        gradients = [torch.autograd.grad(value, scores)[0] for value in values]
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)

    return Case(
        inputs=f'{count} regions, {num_cells} cells, {classes} classes, {side}x{side} pixels',
        runs={'ours: per cell': ours, 'per pixel, with our gather_max': per_pixel},
        gradients_of=(scores, ),
        parity=parity)
