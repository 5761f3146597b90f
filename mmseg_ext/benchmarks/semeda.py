"""Benchmark cases of SEMEDA: the losses, the training of its network, and the metric.

Shapes: N images, C classes, H x W pixels.
"""
import os
import tempfile
import warnings
from types import SimpleNamespace
from typing import Callable, Dict, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.registry import HOOKS, METRICS, MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg_ext.ops import semantic_edge_distance, semantic_edges

from .case import Case, benchmark, sizes
from .semeda_models import deep_lab_v3_plus
from .semeda_ops import (
    IGNORED,
    NUM_CLASSES,
    SHAPES,
    SMALL,
    edge_layers,
    sample_labels,
    sobel_by_convolution,
)
from .training_step import training_step

# lambda of the two shapes' data sets, by which the paper reached most
LAMBDAS = ((2., 4., 0.), (4., 2., 0.))


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


for shape in SHAPES:
    register_sobel_loss_case(shape)
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
    labels = sample_labels((4, 16, 16) if small else (32, 32, 32)).to(device)
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
    maps = sample_labels((number, size, size))
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
    label = sample_labels((1, *size)).to(device)
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


def _sample_logits(shape: Tuple[int, int, int, int], device: str) -> Tuple[Tensor, Tensor]:
    """Logits of a prediction that is often right, a leaf of the graph, and labels."""
    n, classes, *size = shape
    labels = sample_labels((n, *size))
    labels = torch.where(labels == IGNORED, labels, labels % classes)
    torch.manual_seed(0)
    logits = torch.randn(shape)
    logits.scatter_add_(1, labels.masked_fill(labels == IGNORED, 0)[:, None],
                        torch.full((n, 1, *size), 3.))
    return logits.to(device).requires_grad_(), labels.to(device)


def _loss_case(shape: Tuple[int, int, int, int], lambdas: Sequence[float], device: str) -> Case:
    logits, labels = _sample_logits(shape, device)
    layers = edge_layers(shape[1], device)
    loss = MODELS.build(dict(type='SEMEDALoss', num_classes=shape[1], layer_weights=lambdas))
    for own, value in zip(loss.edge_net.buffers(), (tensor for pair in layers for tensor in pair)):
        own.copy_(value)
    loss.to(device).is_ready = True
    factors = [factor / len(bias) for factor, (_, bias) in zip(lambdas, layers)]

    def plain() -> Tensor:
        distance = semantic_edge_distance(logits, labels, layers, factors,
                                          implementation='reference')
        return distance / (labels != IGNORED).sum()

    return _case(f'{sizes(shape)} float32, lambda {tuple(lambdas)}, 5 % ignored', logits, {
        'ours': lambda: loss(logits, labels),
        'PyTorch: one-hot truth, network on both maps, autograd': plain
    })


def _sobel_loss_case(shape: Tuple[int, int, int, int], device: str) -> Case:
    logits, labels = _sample_logits(shape, device)
    loss = MODELS.build(dict(type='SobelEdgeLoss'))
    filtered = sobel_by_convolution(shape[1], device)

    def convolution() -> Tensor:
        known = (labels != IGNORED)[:, None]
        truth = torch.zeros_like(logits).scatter_(
            1, labels[:, None].masked_fill(~known, 0), 1) * known
        ours, theirs = filtered(logits.softmax(dim=1) * known), filtered(truth)
        return ((ours - theirs).abs() * known).mean(dim=1).sum() / known.sum()

    return _case(f'{sizes(shape)} float32, 5 % ignored', logits, {
        'ours': lambda: loss(logits, labels),
        'PyTorch: F.conv2d of each channel of both maps': convolution
    })


def _case(inputs: str, logits: Tensor, runs: Dict[str, Callable[[], Tensor]]) -> Case:
    """Two ways to compute a loss, whose values and gradients have to agree."""

    def parity() -> None:
        values = [run() for run in runs.values()]
        torch.testing.assert_close(*values, rtol=1e-4, atol=0)
        ours, theirs = (torch.autograd.grad(value, logits)[0] for value in values)
        # single signs may differ where two features are equal
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()

    return Case(inputs=inputs, runs=runs, gradients_of=(logits, ), parity=parity)


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
