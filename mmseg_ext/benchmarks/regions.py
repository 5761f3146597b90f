"""Benchmark cases of the region method.

Shapes: R regions, S cells (superpixels), C classes.
"""
from typing import Optional, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import DATASETS
from torch import Tensor

from mmseg_ext.ops import (
    RegionSet,
    extension_loaded,
    free_form_roi_pool,
    gather_max,
    grouped_cross_entropy,
    hierarchical_regions,
    label_counts,
    region_geometry,
    region_grid_masks,
    region_to_pixel,
    transpose_index,
)
from mmseg_ext.ops.free_form_roi_pool import bin_ranges, reference_bin_index

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
        found, expected = ours(), reference()
        for one, other in zip((*found, found.parents), (*expected, expected.parents)):
            assert np.array_equal(one, other)
        assert np.array_equal(ours().cells, superpixels())

    return Case(
        inputs=f'scene of {sizes(size)}, RGB, {ours().num_regions} regions',
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
    lengths = [len(positions) for positions in bins]
    indptr = torch.tensor([0, *np.cumsum(lengths)], device=device)
    indices = torch.tensor([position for bin in bins for position in bin], device=device)
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


@benchmark('transpose_index')
def transposed_index(device: str, small: bool = False) -> Case:
    """The cells of each region turned into the regions of each cell, against SciPy's transposition.

    SciPy's is on the CPU.
    """
    from scipy.sparse import csr_matrix
    count, num_cells = (9, 20) if small else (370, 600)
    # the transposition of the regions of each cell: regions are rows now
    indptr, indices = transpose_index(*random_regions(count, num_cells, device), count)
    matrix = csr_matrix(
        (np.ones(len(indices), dtype=np.int8), indices.cpu().numpy(), indptr.cpu().numpy()),
        shape=(count, num_cells))

    def ours() -> Tuple[Tensor, Tensor]:
        return transpose_index(indptr, indices, num_cells)

    def scipys() -> Tuple[Tensor, Tensor]:
        columns = matrix.tocsc()
        return torch.from_numpy(columns.indptr), torch.from_numpy(columns.indices)

    def parity() -> None:
        for found, expected in zip(ours(), scipys()):
            assert torch.equal(found.cpu(), expected.long())

    return Case(
        inputs=f'{count} regions, {num_cells} cells, {len(indices)} entries',
        phase='one index',
        runs={'ours': ours, 'SciPy: csr_matrix.tocsc': scipys},
        parity=parity)


#: Pixels per position of the feature map (VGG-16 up to conv5), and bins of a side.
STRIDE, BINS = 16, 7


def regions_of_a_scene(small: bool) -> Tuple[RegionSet, Tensor, Tuple[int, int]]:
    """Regions of all sizes, the labels of the pixels, and height and width of the feature map."""
    size, count = ((48, 64), 9) if small else ((600, 600), 370)
    scene = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))[0]
    tree = hierarchical_regions(np.ascontiguousarray(scene['img'][..., ::-1]))
    keep = np.zeros(tree.num_regions, bool)
    keep[np.linspace(0, len(keep) - 1, min(count, len(keep))).astype(int)] = True
    return (tree.select(keep).tensors(), torch.from_numpy(scene['gt_seg_map']),
            tuple(-(-side // STRIDE) for side in size))


def in_words(regions: RegionSet) -> str:
    """What a table says of regions."""
    return (f'{regions.num_regions} regions, {regions.num_cells} cells, '
            f'{sizes(regions.cells.shape)} pixels')


@benchmark('free_form_roi_pool')
def pooled_regions(device: str, small: bool = False) -> Case:
    """The regions of a scene pooled to 7x7 bins, against a loop over regions in PyTorch.

    Boxes are widened to whole positions of the map: adaptive_max_pool2d then has the bins of RoI
    pooling. Whole boxes are other work: what the shapes cost.
    """
    regions, _, (height, width) = regions_of_a_scene(small)
    channels = 8 if small else 512
    boxes, masks = region_geometry(regions, (height, width), STRIDE, mask_rule='half')
    map_boxes = boxes // STRIDE + torch.tensor([0, 0, 1, 1])  # the last position is outside
    corners = map_boxes * STRIDE - torch.tensor([0, 0, 1, 1])
    rois = F.pad(corners, (1, 0)).float().to(device)
    masks, outside = masks.to(device), ~masks.to(device)
    torch.manual_seed(0)
    source = torch.randn(1, channels, height, width, device=device, requires_grad=True)
    weight = torch.randn(len(rois), channels, BINS, BINS, device=device)

    def ours() -> Tensor:
        return free_form_roi_pool(source, rois, masks, BINS, 1 / STRIDE)

    def ours_whole_boxes() -> Tensor:
        return free_form_roi_pool(source, rois, None, BINS, 1 / STRIDE)

    def loop() -> Tensor:
        pooled = []
        for (x1, y1, x2, y2), out in zip(map_boxes.tolist(), outside):
            part = source[0, :, y1:y2, x1:x2].masked_fill(out[y1:y2, x1:x2], -torch.inf)
            pooled.append(F.adaptive_max_pool2d(part, BINS))
        pooled = torch.stack(pooled)
        return pooled.masked_fill(pooled == -torch.inf, 0)

    def parity() -> None:
        outputs = [run() for run in (ours, loop)]
        assert torch.equal(*outputs)
        torch.testing.assert_close(
            *(torch.autograd.grad(output, source, weight)[0] for output in outputs),
            rtol=1e-4, atol=1e-4)

    runs = {'ours': ours, 'ours: whole boxes': ours_whole_boxes,
            'PyTorch: adaptive_max_pool2d, region by region': loop}
    output = weight.nbytes
    return Case(
        inputs=f'{in_words(regions)}, map of {sizes(source.shape)} float32, {BINS}x{BINS} bins',
        runs={name: lambda run=run: _Receiver.apply(run(), weight) for name, run in runs.items()},
        gradients_of=(source, ),
        # the output is written; the backward reads it and its gradient
        floor_bytes={
            'forward': output + source.nbytes + masks.nbytes,
            'forward+backward': 3 * output + 3 * source.nbytes + 2 * masks.nbytes,
        },
        parity=parity)


@benchmark('region_geometry', 'label_counts')
def index_of_an_image(device: str, small: bool = False) -> Case:
    """Boxes, masks, bins and label counts of a training image, against a loop in NumPy.

    All is done on the CPU.
    """
    regions, labels, map_size = regions_of_a_scene(small)
    number, classes = regions.num_regions, 12

    def bins(boxes: Tensor) -> Tuple[Tensor, Tensor]:
        return tuple(
            bin_ranges(boxes[:, i], boxes[:, i + 2], BINS, map_size[1 - i], 1 / STRIDE, 'mmcv')
            for i in (1, 0))

    def ours(implementation: Optional[str] = None) -> Tuple[Tensor, ...]:
        boxes, masks = region_geometry(
            regions, map_size, STRIDE, mask_rule='half', implementation=implementation)
        index = reference_bin_index
        if implementation is None and extension_loaded():
            index = torch.ops.mmseg_ext.bin_index
        of_bins = index(torch.zeros(number, dtype=torch.int64), *bins(boxes), masks, *map_size,
                        False)
        return boxes, masks, *of_bins, label_counts(regions, labels, classes)

    def loop() -> Tuple[Tensor, ...]:
        cells = regions.cells.numpy()
        firsts = [np.arange(0, side, STRIDE) for side in cells.shape]
        totals = [np.diff(first, append=side) for first, side in zip(firsts, cells.shape)]
        total = np.outer(*totals)
        boxes, masks = [], []
        for region in range(number):
            pixels = regions.mask(region).numpy()
            rows, columns = pixels.any(axis=1).nonzero()[0], pixels.any(axis=0).nonzero()[0]
            boxes.append([columns[0], rows[0], columns[-1], rows[-1]])
            covered = np.add.reduceat(pixels.astype(np.int64), firsts[0], axis=0)
            covered = np.add.reduceat(covered, firsts[1], axis=1)
            mask = 2 * covered >= total
            masks.append(mask if mask.any() else covered == covered.max())
        boxes, masks = torch.tensor(np.array(boxes)), np.stack(masks)
        indices, lengths = [], [0]
        for mask, rows, columns in zip(
                masks, *(np.stack(side, axis=-1).tolist() for side in bins(boxes))):
            position = np.where(mask, np.arange(mask.size).reshape(mask.shape), -1)
            for y1, y2 in rows:
                for x1, x2 in columns:
                    inside = position[y1:y2, x1:x2]
                    indices.append(inside[inside >= 0])
                    lengths.append(len(indices[-1]))
        counts = [np.bincount(labels.numpy()[cells == cell], minlength=256)[:classes]
                  for cell in range(regions.num_cells)]
        found = masks, np.cumsum(lengths), np.concatenate(indices), np.stack(counts)
        return boxes, *map(torch.from_numpy, found)

    def parity() -> None:
        expected = loop()
        for found in (ours(), ours('reference')):
            for x, y in zip(found, expected):
                assert torch.equal(x, y)

    return Case(
        inputs=f'{in_words(regions)}, map of {sizes(map_size)}, {BINS}x{BINS} bins',
        phase='one image',
        runs={
            'ours': ours,
            'ours: reference': lambda: ours('reference'),
            'NumPy: region by region': loop,
        },
        parity=parity)


@benchmark('region_grid_masks')
def grid_masks_of_an_image(device: str, small: bool = False) -> Case:
    """Masks of all regions on a grid of 7x7, against interpolate on the mask of each.

    All is done on the CPU.
    """
    regions, _, map_size = regions_of_a_scene(small)
    boxes, _ = region_geometry(regions, map_size, STRIDE)

    def ours() -> Tensor:
        return region_grid_masks(regions, boxes, (BINS, BINS))

    def loop() -> Tensor:
        grids = []
        for region, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            mask = torch.isin(
                regions.cells[y1:y2 + 1, x1:x2 + 1], regions.members(region).int())
            grids.append(F.interpolate(mask.float()[None, None], (BINS, BINS), mode='bilinear'))
        # weights are whole multiples of 1 / 196
        return torch.cat(grids)[:, 0] > 1e-3

    def parity() -> None:
        assert torch.equal(ours(), loop())

    return Case(
        inputs=f'{in_words(regions)}, grid of {BINS}x{BINS}',
        phase='one image',
        runs={'ours': ours, 'PyTorch: interpolate, region by region': loop},
        parity=parity)
