"""Benchmark cases of SEMEDA: its edges, its network and the losses.

Shapes: N images, C classes, H x W pixels.
"""
import os
import tempfile
import warnings
from types import SimpleNamespace
from typing import Callable, List, Sequence, Tuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import HOOKS, METRICS, MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg_ext.ops import semantic_edge_distance, semantic_edge_features, semantic_edges, sobel

from .case import Case, benchmark, sizes
from .semeda_models import deep_lab_v3_plus
from .training_step import training_step

NUM_CLASSES = 19
IGNORED = 255
SMALL = (2, 5, 32, 48)
# the crops of the paper, and Cityscapes at half its resolution
SHAPES = ((2, 21, 321, 321), (2, 19, 512, 1024))
# lambda of the two shapes' data sets, by which the paper reached most
LAMBDAS = ((2., 4., 0.), (4., 2., 0.))


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

        Of the same network; nothing needs a gradient, as for the truth in ``SEMEDALoss``.
        """
        return _features_case(SMALL if small else shape, depth, device)


def register_loss_case(shape: Tuple[int, int, int, int], lambdas: Sequence[float]) -> None:
    """Register the comparison for logits of one size and weights of the layers."""
    name = '_'.join(f'{value:g}' for value in lambdas)

    @benchmark('semantic_edge_distance', 'SEMEDALoss', name=f'semeda_loss_{sizes(shape)}_{name}')
    def loss_case(device: str, small: bool = False) -> Case:
        """The loss of SEMEDA, against the plain way: both maps, all layers, autograd."""
        return _loss_case(SMALL if small else shape, lambdas, device)


def register_sobel_loss_case(shape: Tuple[int, int, int, int]) -> None:
    """Register the comparison for logits of one size."""

    @benchmark('SobelEdgeLoss', name=f'sobel_loss_{sizes(shape)}')
    def sobel_loss_case(device: str, small: bool = False) -> Case:
        """The Sobel loss, against the kernels as a convolution of each of the two maps."""
        return _sobel_loss_case(SMALL if small else shape, device)


def name_of(dtype: torch.dtype) -> str:
    """Name of a type, such as 'int64'."""
    return str(dtype).rpartition('.')[2]


# as mmseg has the labels of a batch, and as they are in a file
for dtype in (torch.int64, torch.uint8):
    register_semantic_edges_case(dtype)
for shape in SHAPES:
    register_sobel_case(shape)
    register_sobel_loss_case(shape)
    for depth in (1, 3):
        register_features_case(shape, depth)
    for lambdas in LAMBDAS:
        register_loss_case(shape, lambdas)


@benchmark('SEMEDALoss', 'SobelEdgeLoss')
def semeda_training_step(device: str, small: bool = False) -> Case:
    """Training step of DeepLab v3+ with ResNet-101, by cross entropy alone and with each loss.

    Different losses, so there is no parity to check. What is trained does not change the time, so
    the edge network has random weights.
    """
    width, channels, size = (4, 8, 64) if small else (64, 512, 321)
    shape = (2, 3, size, size)
    resnet, head = deep_lab_v3_plus(width, channels)
    cross_entropy = dict(type='CrossEntropyLoss')
    semeda = dict(type='SEMEDALoss', layer_weights=LAMBDAS[0])
    sobel_loss = dict(type='SobelEdgeLoss', loss_weight=4.)
    steps = {
        name: training_step(resnet, dict(head, loss_decode=losses), shape, device)
        for name, losses in {
            'ours: cross entropy and SEMEDA': [cross_entropy, semeda],
            'ours: cross entropy and Sobel': [cross_entropy, sobel_loss],
            'mmseg: cross entropy': [cross_entropy]
        }.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # once: that the network was not trained
        next(iter(steps.values()))()
    return Case(
        inputs=f"{sizes(shape)} float32, {head['num_classes']} classes, ResNet-101 at stride 16",
        phase='training step',
        runs=steps)


@benchmark('SemanticEdgeDetector', 'SemanticEdgeNet')
def semantic_edge_detector_training_step(device: str, small: bool = False) -> Case:
    """Training step of the edge network on label maps, against the same one on one-hot maps."""
    labels = _sample_labels((4, 16, 16) if small else (32, 32, 32)).to(device)
    detector = _detector(device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    chain, plain_loss = _plain_network(detector, device)
    losses = {
        'ours': lambda: detector.loss(None, samples)['loss_edge'],
        'PyTorch: nn.Sequential on one-hot maps': lambda: plain_loss(labels),
    }

    def parity() -> None:
        torch.testing.assert_close(*(loss() for loss in losses.values()))

    return Case(
        inputs=f'{sizes(labels.shape)} int64, {NUM_CLASSES} classes',
        phase='training step',
        runs={name: _step(loss, model)
              for (name, loss), model in zip(losses.items(), (detector, chain))},
        parity=parity)


@benchmark('SemanticEdgeNetHook')
def semantic_edge_net_hook(device: str, small: bool = False) -> Case:
    """Giving a model its edge network, against the bare training of the same on one-hot maps.

    Twenty steps here. Windows are drawn, so there is no parity to check.
    """
    iterations, size, number = (2, 16, 4) if small else (20, 96, 64)
    maps = _sample_labels((number, size, size))
    head = MODELS.build(dict(
        type='FCNHead', in_channels=1, channels=1, num_convs=0, num_classes=NUM_CLASSES,
        loss_decode=dict(type='SEMEDALoss'))).to(device)
    folder = tempfile.TemporaryDirectory()
    loader = DataLoader(
        [dict(data_samples=SegDataSample(gt_sem_seg=PixelData(data=label[None])))
         for label in maps], batch_size=8, collate_fn=pseudo_collate)
    runner = SimpleNamespace(
        model=nn.Sequential(head), train_dataloader=loader, work_dir=folder.name, iter=0,
        logger=SimpleNamespace(info=print_nothing, warning=print_nothing))

    hook = HOOKS.build(dict(
        type='SemanticEdgeNetHook', num_maps=number, iterations=iterations, filename='net.pth'))

    def ours(folder: tempfile.TemporaryDirectory = folder) -> None:  # as long as this lives
        head.loss_decode.is_ready = False
        hook.before_train(runner)
        os.remove(os.path.join(folder.name, 'net.pth'))  # else the next call reads it

    chain, plain_loss = _plain_network(_detector(device), device)
    plain_step = _step(lambda: plain_loss(maps[torch.randperm(number)[:32], :32, :32].to(device)),
                       chain)

    def plain() -> None:
        for _ in range(iterations):
            plain_step()

    return Case(
        inputs=f'{iterations} steps on windows of {number} label maps, {NUM_CLASSES} classes',
        phase='before training',
        runs={
            'ours': ours,
            'PyTorch: nn.Sequential on one-hot maps': plain
        })


@benchmark('SemanticEdgeMetric')
def semantic_edge_metric(device: str, small: bool = False) -> Case:
    """Counting the edges of an image, against mmseg's metric on the maps of edges."""
    size = (32, 64) if small else (512, 1024)
    label = _sample_labels((1, *size)).to(device)
    pred = semantic_edges(label).roll(1, dims=2)
    metric = METRICS.get('SemanticEdgeMetric')

    def mmseg() -> Tensor:
        edges = semantic_edges(label).long().masked_fill(label == IGNORED, IGNORED)
        hits, _, found, true = IoUMetric.intersect_and_union(pred.long(), edges, 2, IGNORED)
        return torch.stack([hits[1], found[1], true[1]]).long()

    def ours() -> Tensor:
        return metric.calculate(pred, label, IGNORED)

    def parity() -> None:
        assert torch.equal(ours(), mmseg()) and ours().min() > 0

    return Case(
        inputs=f'label map of {sizes(size)}, {semantic_edges(label).float().mean():.0%} edges',
        phase='counting',
        runs={'ours': ours, 'mmseg: IoUMetric of the maps of edges': mmseg},
        parity=parity)


def print_nothing(message: str) -> None:
    """Stand in for a logger."""


def _semantic_edges_case(shape: Tuple[int, int, int], dtype: torch.dtype, device: str) -> Case:
    labels = _sample_labels(shape).to(device, dtype)

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


def _sample_labels(shape: Tuple[int, int, int]) -> Tensor:
    """Smooth regions (N, H, W), 5 % of the blocks ignored."""
    torch.manual_seed(0)
    n, h, w = shape
    coarse = torch.randn(n, NUM_CLASSES, max(h // 64, 2), max(w // 64, 2))
    labels = F.interpolate(coarse, (h, w), mode='bilinear', align_corners=False).argmax(dim=1)
    ignored = F.interpolate((torch.rand(n, 1, h // 8, w // 8) < 0.05).float(), (h, w))[:, 0]
    return labels.masked_fill(ignored.bool(), IGNORED)


def _sobel_case(shape: Tuple[int, int, int, int], device: str) -> Case:
    torch.manual_seed(0)
    maps = torch.rand(shape, device=device, requires_grad=True)
    across = torch.tensor([[-1., 0., 1.], [-2., 0., 2.], [-1., 0., 1.]], device=device)
    kernels = torch.stack([across, across.t()])[:, None].repeat(shape[1], 1, 1, 1)

    def ours() -> Tensor:
        return sobel(maps).abs().mean()

    def convolution() -> Tensor:
        padded = F.pad(maps, (1, 1, 1, 1), mode='replicate')
        return F.conv2d(padded, kernels, groups=shape[1]).abs().mean()

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


def _network(num_classes: int, device: str, depth: int = 3) -> List[Tuple[Tensor, Tensor]]:
    """Random weights of the paper's network."""
    torch.manual_seed(0)
    net = MODELS.build(dict(type='SemanticEdgeNet', num_classes=num_classes)).to(device)
    return [(weight.detach(), bias.detach()) for weight, bias in net.layers[:depth]]


def _features_case(shape: Tuple[int, int, int, int], depth: int, device: str) -> Case:
    n, classes, *size = shape
    labels = _sample_labels((n, *size)).to(device)
    labels = torch.where(labels == IGNORED, labels, labels % classes)
    layers = _network(classes, device, depth)

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


def _sample_logits(shape: Tuple[int, int, int, int], device: str) -> Tuple[Tensor, Tensor]:
    """Logits of a prediction that is often right, a leaf of the graph, and labels."""
    n, classes, *size = shape
    labels = _sample_labels((n, *size))
    labels = torch.where(labels == IGNORED, labels, labels % classes)
    torch.manual_seed(0)
    logits = torch.randn(shape)
    logits.scatter_add_(1, labels.masked_fill(labels == IGNORED, 0)[:, None],
                        torch.full((n, 1, *size), 3.))
    return logits.to(device).requires_grad_(), labels.to(device)


def _loss_case(shape: Tuple[int, int, int, int], lambdas: Sequence[float], device: str) -> Case:
    logits, labels = _sample_logits(shape, device)
    layers = _network(shape[1], device)
    loss = MODELS.build(dict(type='SEMEDALoss', num_classes=shape[1], layer_weights=lambdas))
    for own, value in zip(loss.edge_net.buffers(), (tensor for pair in layers for tensor in pair)):
        own.copy_(value)
    loss.to(device).is_ready = True
    factors = [factor / len(bias) for factor, (_, bias) in zip(lambdas, layers)]

    def plain() -> Tensor:
        distance = semantic_edge_distance(logits, labels, layers, factors,
                                          implementation='reference')
        return distance / (labels != IGNORED).sum()

    def parity() -> None:
        values = [loss(logits, labels), plain()]
        torch.testing.assert_close(*values, rtol=1e-4, atol=0)
        ours, theirs = (torch.autograd.grad(value, logits)[0] for value in values)
        # single signs may differ where two features are equal
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()

    return Case(
        inputs=f'{sizes(shape)} float32, lambda {tuple(lambdas)}, 5 % ignored',
        runs={
            'ours': lambda: loss(logits, labels),
            'PyTorch: one-hot truth, network on both maps, autograd': plain
        },
        gradients_of=(logits, ),
        parity=parity)


def _sobel_loss_case(shape: Tuple[int, int, int, int], device: str) -> Case:
    logits, labels = _sample_logits(shape, device)
    loss = MODELS.build(dict(type='SobelEdgeLoss'))
    across = torch.tensor([[-1., 0., 1.], [-2., 0., 2.], [-1., 0., 1.]], device=device)
    kernels = torch.stack([across, across.t()])[:, None].repeat(shape[1], 1, 1, 1)

    def convolution() -> Tensor:
        known = (labels != IGNORED)[:, None]
        truth = torch.zeros_like(logits).scatter_(
            1, labels[:, None].masked_fill(~known, 0), 1) * known
        ours, theirs = (
            F.conv2d(F.pad(maps, (1, 1, 1, 1), mode='replicate'), kernels, groups=shape[1])
            for maps in (logits.softmax(dim=1) * known, truth))
        return ((ours - theirs).abs() * known).mean(dim=1).sum() / known.sum()

    def parity() -> None:
        values = [loss(logits, labels), convolution()]
        torch.testing.assert_close(*values, rtol=1e-4, atol=0)
        ours, theirs = (torch.autograd.grad(value, logits)[0] for value in values)
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()

    return Case(
        inputs=f'{sizes(shape)} float32, 5 % ignored',
        runs={
            'ours': lambda: loss(logits, labels),
            'PyTorch: F.conv2d of each channel of both maps': convolution
        },
        gradients_of=(logits, ),
        parity=parity)


def _detector(device: str) -> nn.Module:
    torch.manual_seed(0)
    detector = MODELS.build(
        dict(type='SemanticEdgeDetector', edge_net=dict(num_classes=NUM_CLASSES)))
    return detector.to(device)


def _plain_network(detector: nn.Module,
                   device: str) -> Tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """The network of a detector without its look-up, and its loss for label maps."""
    chain = nn.Sequential(
        nn.Conv2d(NUM_CLASSES, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 2, 3, padding=1)).to(device)
    with torch.no_grad():
        for own, value in zip(chain.parameters(), detector.parameters()):
            own.copy_(value)

    def loss(labels: Tensor) -> Tensor:
        maps = F.one_hot(labels.masked_fill(labels == IGNORED, NUM_CLASSES), NUM_CLASSES + 1)
        maps = maps.permute(0, 3, 1, 2)[:, :NUM_CLASSES].float()
        edges = semantic_edges(labels).long().masked_fill(labels == IGNORED, IGNORED)
        return F.cross_entropy(chain(maps), edges, ignore_index=IGNORED)

    return chain, loss


def _step(loss: Callable[[], Tensor], model: nn.Module) -> Callable[[], None]:
    """A training step by Adam, at a rate that leaves the weights as they are."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step
