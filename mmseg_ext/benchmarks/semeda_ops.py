"""Benchmark cases of what SEMEDA computes on maps: edges, Sobel's kernels, the network's features.

Shapes: N images, C classes, H x W pixels.
"""
from typing import Callable, List, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops import semantic_edge_features, semantic_edges, sobel

from .case import Case, benchmark, sizes

NUM_CLASSES = 19
IGNORED = 255
SMALL = (2, 5, 32, 48)
# the crops of the paper, and Cityscapes at half its resolution
SHAPES = ((2, 21, 321, 321), (2, 19, 512, 1024))


def register_semantic_edges_case(dtype: torch.dtype) -> None:
    """Register the comparison for labels of one type."""

    @benchmark('semantic_edges', name=f'semantic_edges_{name_of(dtype)}')
    def semantic_edges_case(device: str, small: bool = False) -> Case:
        """E* by ours and our reference, by two poolings in PyTorch and, on a CPU, by OpenCV."""
        return _semantic_edges_case((2, 32, 64) if small else (2, 512, 1024), dtype, device)


def register_sobel_case(shape: Tuple[int, int, int, int]) -> None:
    """Register the comparison for maps of one size."""

    @benchmark('sobel', name=f'sobel_{sizes(shape)}')
    def sobel_case(device: str, small: bool = False) -> Case:
        """Mean size of what Sobel's kernels give, by ours and by a convolution of each channel."""
        return _sobel_case((2, 3, 16, 24) if small else shape, device)


def register_features_case(shape: Tuple[int, int, int, int], depth: int) -> None:
    """Register the comparison for label maps of one size, by the first layer or by all three."""
    layers = {1: 'first_layer', 3: 'network'}[depth]

    @benchmark('semantic_edge_features', name=f'semantic_edge_features_{sizes(shape)}_{layers}')
    def features_case(device: str, small: bool = False) -> Case:
        """Features of a label map, by look-up in the weights and by convolution of its one-hot map.

        Both of one network. No gradient is needed, as for the ground truth in ``SEMEDALoss``.
        """
        return _features_case(SMALL if small else shape, depth, device)


def name_of(dtype: torch.dtype) -> str:
    """Name of a type, such as 'int64'."""
    return str(dtype).rpartition('.')[2]


# as mmseg has the labels of a batch, and as they are in a file
for dtype in (torch.int64, torch.uint8):
    register_semantic_edges_case(dtype)
for shape in SHAPES:
    register_sobel_case(shape)
    for depth in (1, 3):
        register_features_case(shape, depth)


def _semantic_edges_case(shape: Tuple[int, int, int], dtype: torch.dtype, device: str) -> Case:
    labels = sample_labels(shape).to(device, dtype)

    def pooled() -> Tensor:
        known = labels != IGNORED
        # the largest label around each pixel and, negative, the smallest
        high, low = (
            F.max_pool2d(x.masked_fill(~known, -IGNORED), 3, stride=1, padding=1)
            for x in (labels.float(), -labels.float()))
        return known & (high != -low)

    def morphology() -> np.ndarray:
        images, kernel = labels.numpy().astype(np.uint16), np.ones((3, 3), np.uint8)
        known = images != IGNORED
        high = [cv2.dilate(x, kernel) for x in np.where(known, images, 0)]
        low = [cv2.erode(x, kernel) for x in images]  # an ignored pixel is larger than the others
        return known & (np.stack(high) != np.stack(low))

    runs = {
        'ours': lambda: semantic_edges(labels),
        'PyTorch: F.max_pool2d of labels and of -labels': pooled,
        'ours: reference': lambda: semantic_edges(labels, implementation='reference'),
    }
    if device == 'cpu':
        runs['OpenCV: dilate and erode'] = lambda: torch.from_numpy(morphology())

    def parity() -> None:
        found, *others = (run() for run in runs.values())
        assert found.any() and all(torch.equal(found, other) for other in others)

    return Case(
        inputs=f'{sizes(shape)} {name_of(dtype)}, {semantic_edges(labels).float().mean():.0%} '
        'edges, 5 % ignored',
        runs=runs,
        # the labels are read, the mask is written
        floor_bytes=dict(forward=labels.nbytes + labels.numel()),
        parity=parity)


def sample_labels(shape: Tuple[int, int, int]) -> Tensor:
    """Smooth regions (N, H, W), 5 % of the blocks ignored."""
    torch.manual_seed(0)
    n, h, w = shape
    coarse = torch.randn(n, NUM_CLASSES, max(h // 64, 2), max(w // 64, 2))
    labels = F.interpolate(coarse, (h, w), mode='bilinear', align_corners=False).argmax(dim=1)
    ignored = F.interpolate((torch.rand(n, 1, h // 8, w // 8) < 0.05).float(), (h, w))[:, 0]
    return labels.masked_fill(ignored.bool(), IGNORED)


def sobel_by_convolution(num_channels: int, device: str) -> Callable[[Tensor], Tensor]:
    """Sobel's two kernels as a convolution of each channel: (N, C, H, W) to (N, 2C, H, W)."""
    across = torch.tensor([[-1., 0., 1.], [-2., 0., 2.], [-1., 0., 1.]], device=device)
    kernels = torch.stack([across, across.t()])[:, None].repeat(num_channels, 1, 1, 1)

    def apply(maps: Tensor) -> Tensor:
        padded = F.pad(maps, (1, 1, 1, 1), mode='replicate')
        return F.conv2d(padded, kernels, groups=num_channels)

    return apply


def _sobel_case(shape: Tuple[int, int, int, int], device: str) -> Case:
    torch.manual_seed(0)
    maps = torch.rand(shape, device=device, requires_grad=True)
    filtered = sobel_by_convolution(shape[1], device)

    def ours() -> Tensor:
        return sobel(maps).abs().mean()

    def convolution() -> Tensor:
        return filtered(maps).abs().mean()

    def parity() -> None:
        values = [run() for run in (ours, convolution)]
        torch.testing.assert_close(*values)
        torch.testing.assert_close(*(torch.autograd.grad(value, maps) for value in values))

    return Case(
        inputs=f'{sizes(shape)} float32',
        runs={'ours': ours, 'PyTorch: F.conv2d of each channel': convolution},
        gradients_of=(maps, ),
        # the maps are read; the gradient is written
        floor_bytes={'forward': maps.nbytes, 'forward+backward': 2 * maps.nbytes},
        parity=parity)


def edge_layers(num_classes: int, device: str, depth: int = 3) -> List[Tuple[Tensor, Tensor]]:
    """Random weights of the paper's network."""
    torch.manual_seed(0)
    net = MODELS.build(dict(type='SemanticEdgeNet', num_classes=num_classes)).to(device)
    return [(weight.detach(), bias.detach()) for weight, bias in net.layers[:depth]]


def _features_case(shape: Tuple[int, int, int, int], depth: int, device: str) -> Case:
    n, classes, *size = shape
    labels = sample_labels((n, *size)).to(device)
    labels = torch.where(labels == IGNORED, labels, labels % classes)
    layers = edge_layers(classes, device, depth)

    def one_hot() -> List[Tensor]:
        maps = labels.new_zeros(n, classes + 1, *size, dtype=torch.float32)
        known = labels.masked_fill(labels == IGNORED, classes)
        maps = maps.scatter_(1, known[:, None], 1)[:, :classes]
        return semantic_edge_features(maps, layers, activated=False)

    def ours() -> List[Tensor]:
        return semantic_edge_features(labels, layers, activated=False)

    def parity() -> None:
        for features in zip(ours(), one_hot()):
            torch.testing.assert_close(*features, rtol=1e-4, atol=1e-5)

    return Case(
        inputs=f'labels {sizes(labels.shape)}, {classes} classes, {depth} of 3 layers',
        runs={'ours: look-up': ours, 'PyTorch: F.conv2d of the one-hot map': one_hot},
        parity=parity)


