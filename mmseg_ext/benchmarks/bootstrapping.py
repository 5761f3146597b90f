"""Benchmark cases of online bootstrapping and of FCRN.

Shapes: N images, C classes, H x W pixels.
"""
from types import SimpleNamespace
from typing import Callable, Tuple

import torch
import torch.nn.functional as F
from mmseg.registry import HOOKS, MODELS, TASK_UTILS
from mmseg.visualization import SegLocalVisualizer
from torch import Tensor

from mmseg_ext.ops import bootstrapped_cross_entropy, hard_pixel_mask

from .case import Case, benchmark, sizes
from .training_step import training_step

IGNORE_INDEX = 255
SMALL = (2, 5, 32, 48)

# (N, C, H, W), share of the valid pixels that is kept, where these are
LOSS_CASES = (
    ((2, 19, 512, 1024), 0.001, 'clustered'),
    ((2, 19, 512, 1024), 0.01, 'clustered'),
    ((2, 19, 512, 1024), 0.1, 'clustered'),
    ((2, 19, 512, 1024), 0.2, 'clustered'),
    ((2, 19, 512, 1024), 0.2, 'scattered'),
    ((8, 21, 321, 321), 0.1, 'clustered'),
    ((2, 150, 512, 512), 0.1, 'clustered'),
)


def register_loss_case(shape: Tuple[int, int, int, int], share: float, where: str) -> None:
    """Register the comparison of the losses at one size and share of kept pixels."""
    name = f'bootstrapping_{sizes(shape)}_keep_1_in_{round(1 / share)}'
    if where == 'scattered':
        name += '_scattered'

    @benchmark('bootstrapped_cross_entropy', 'select_hard_pixels', 'BootstrappedCrossEntropyLoss',
               'BootstrapPixelSampler', name=name)
    def loss_case(device: str, small: bool = False) -> Case:
        """Loss of the hard pixels: ours, mmseg's two, gathering in PyTorch, and all pixels."""
        return _loss_case(SMALL if small else shape, share, where, device)


for row in LOSS_CASES:
    register_loss_case(*row)


@benchmark('hard_pixel_mask')
def hard_pixel_mask_by_rank(device: str, small: bool = False) -> Case:
    """The mask of the 10 % hardest pixels, against a sort and against topk."""
    shape = (2, 24, 32) if small else (2, 512, 1024)
    torch.manual_seed(0)
    difficulty = torch.randn(shape, device=device)
    valid = torch.rand(shape, device=device) > 0.05
    count = valid.sum().item() // 10

    def ours() -> Tensor:
        return hard_pixel_mask(difficulty, valid, min_kept=count)

    def by_sort() -> Tensor:
        order = difficulty.masked_fill(~valid, -torch.inf).view(-1).argsort(descending=True)
        return _mask(order[:count])

    def by_topk() -> Tensor:
        return _mask(difficulty.masked_fill(~valid, -torch.inf).view(-1).topk(count).indices)

    def _mask(indices: Tensor) -> Tensor:
        mask = torch.zeros_like(valid)
        mask.view(-1)[indices] = True
        return mask

    def parity() -> None:
        for run in (by_sort, by_topk):
            assert torch.equal(ours(), run())

    return Case(
        inputs=f'{sizes(shape)} float32, 5 % invalid, the {count} hardest',
        runs={'ours': ours, 'PyTorch: argsort': by_sort, 'PyTorch: topk': by_topk},
        # difficulty and validity are read, the mask is written
        floor_bytes=dict(forward=difficulty.nbytes + 2 * valid.nbytes),
        parity=parity)


@benchmark('HardPixelVisualizationHook')
def hard_pixel_visualization_hook(device: str, small: bool = False) -> Case:
    """What the hook does in a training iteration that it logs, against a plain loss.

    It does nothing in the others. The two have no result in common, so there is no parity to check.
    """
    shape = SMALL if small else (2, 19, 512, 1024)
    logits, labels = sample_logits(shape, 'clustered', device)
    loss = MODELS.build(dict(type='BootstrappedCrossEntropyLoss', thresh=0.6, min_kept=100))
    SegLocalVisualizer.get_instance('benchmark of HardPixelVisualizationHook')  # asked for by it
    hook = HOOKS.build(dict(type='HardPixelVisualizationHook'))
    head = SimpleNamespace(ignore_index=IGNORE_INDEX, loss_decode=loss)
    hook.before_run(SimpleNamespace(model=SimpleNamespace(decode_head=head)))

    def forward_and_backward() -> None:
        value = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX)
        torch.autograd.grad(value, logits)

    return Case(
        inputs=f'{sizes(shape)} float32',
        phase='iteration',
        runs={
            'ours: hook': lambda: hook._measure(loss, (logits, labels), {}),
            'F.cross_entropy, forward and backward': forward_and_backward,
        })


@benchmark('FCRN', 'FCRNHead')
def fcrn_training_step(device: str, small: bool = False) -> Case:
    """Training step of FCRN with its loss on the stride-8 grid or on all pixels, and of mmseg's.

    The networks are alike: ResNet-50 at stride 8 with frozen batch norm and a 5x5 classifier with
    dilation 12. mmseg's has no dropout, and one more convolution, 1x1 between the classes. Three
    networks with weights of their own, so there is no parity to check.
    """
    width, size = (4, 64) if small else (64, 160)
    shape, classes = (2, 3, size, size), 19
    backbone = dict(
        depth=50, base_channels=width, stem_channels=width, norm_eval=True,
        norm_cfg=dict(type='BN', requires_grad=False))
    fcrn = dict(backbone, type='FCRN')
    resnet = dict(
        backbone, type='ResNet', strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
        contract_dilation=True)
    head = dict(
        in_channels=32 * width, in_index=3, num_classes=classes, kernel_size=5, dilation=12,
        dropout_ratio=0, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True))
    fcrn_head = dict(head, type='FCRNHead')
    fcn_head = dict(
        head, type='FCNHead', channels=classes, num_convs=1, concat_input=False, act_cfg=None)
    grid_head = dict(fcrn_head, label_stride=8)
    return Case(
        inputs=f'{sizes(shape)} float32, {classes} classes, ResNet-50 at stride 8',
        phase='training step',
        runs={
            'ours: loss on the stride-8 grid': training_step(fcrn, grid_head, shape, device),
            'ours: loss on all pixels': training_step(fcrn, fcrn_head, shape, device),
            'mmseg: ResNet and FCNHead': training_step(resnet, fcn_head, shape, device),
        })


def sample_logits(shape: Tuple[int, int, int, int], where: str,
                  device: str) -> Tuple[Tensor, Tensor]:
    """Logits (N, C, H, W) of a network that misses the borders of regions by a few pixels.

    The labels, (N, H, W), are smooth regions, 5 % of the pixels ignored. ``'clustered'``: the hard
    pixels lie at the borders, as in images. ``'scattered'``: the same pixels in random order, each
    image its own.
    """
    torch.manual_seed(0)
    n, c, h, w = shape
    coarse = (n, c, max(h // 64, 2), max(w // 64, 2))
    logits = F.interpolate(
        10 * torch.randn(coarse, device=device), (h, w), mode='bilinear', align_corners=False)
    labels = logits.argmax(dim=1)
    labels[:, 3:, 3:] = labels[:, :-3, :-3].clone()
    logits += 0.3 * torch.randn_like(logits)
    ignored = torch.rand(n, 1, h // 8, w // 8, device=device) < 0.05
    ignored = F.interpolate(ignored.float(), (h, w), mode='nearest')[:, 0].bool()
    labels[ignored] = IGNORE_INDEX
    if where == 'scattered':
        for image, label in zip(logits.flatten(2), labels.flatten(1)):
            order = torch.randperm(h * w, device=device)
            image[:] = image[:, order]
            label[:] = label[order]
    return logits.requires_grad_(), labels


def threshold_for(logits: Tensor, labels: Tensor, share: float) -> Tuple[float, int]:
    """Find a threshold of p_y that all ways to compute p_y agree about, and the pixels below it.

    About a ``share`` of the valid pixels, a few at least, are below. The threshold is in the middle
    of the widest gap between neighbouring values near that share.
    """
    with torch.no_grad():
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction='none')
        p = (-losses[labels != IGNORE_INDEX]).exp().sort().values
    # mmseg's sampler keeps at least 2 of each image
    rank = max(round(share * p.numel()), 2 * logits.size(0) + 1)
    near = slice(rank - rank // 50 - 1, rank + rank // 50 + 1)
    kept = near.start + 1 + p[near].diff().argmax().item()
    return (p[kept - 1] + p[kept]).item() / 2, kept


def _loss_case(shape: Tuple[int, int, int, int], share: float, where: str, device: str) -> Case:
    logits, labels = sample_logits(shape, where, device)
    thresh, kept = threshold_for(logits, labels, share)
    hard = dict(thresh=thresh, min_kept=1)
    cross_entropy = MODELS.build(dict(type='CrossEntropyLoss')).to(device)
    # what a sampler and a loss read from the decode head
    head = SimpleNamespace(ignore_index=IGNORE_INDEX, loss_decode=cross_entropy)

    def loss(**kwargs) -> Callable[[], Tensor]:
        module = MODELS.build(kwargs).to(device)
        return lambda: module(logits, labels)

    def sampled(**kwargs) -> Callable[[], Tensor]:
        sampler = TASK_UTILS.build(kwargs, default_args=dict(context=head))

        def run() -> Tensor:
            weight = sampler.sample(logits, labels[:, None])
            return cross_entropy(logits, labels, weight=weight, ignore_index=IGNORE_INDEX)

        return run

    def gathered() -> Tensor:
        with torch.no_grad():
            losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction='none')
            # an ignored pixel has no loss, hence p = 1
            index = ((-losses).exp() < thresh).nonzero(as_tuple=True)
        n, y, x = index
        return F.cross_entropy(logits[n, :, y, x], labels[index])

    runs = {
        'ours: loss, threshold': loss(type='BootstrappedCrossEntropyLoss', **hard),
        'ours: loss, min_kept': loss(type='BootstrappedCrossEntropyLoss', min_kept=kept),
        'ours: sampler + CrossEntropyLoss': sampled(type='BootstrapPixelSampler', **hard),
        'F.cross_entropy of all pixels':
        lambda: F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX),
        'PyTorch: select, then gather': gathered,
        # its least min_kept is 2
        'mmseg: OHEMPixelSampler + CrossEntropyLoss':
        sampled(type='OHEMPixelSampler', thresh=thresh, min_kept=2),
        'mmseg: OhemCrossEntropy': loss(type='OhemCrossEntropy', thres=thresh, min_kept=1),
    }

    def parity() -> None:
        expected = gathered()
        gradient, = torch.autograd.grad(expected, logits)
        for name, run in runs.items():
            if not name.startswith('F.'):
                # mmseg's sampler divides by all pixels, the others by those that are kept
                factor = labels.numel() / kept if 'OHEMPixelSampler' in name else 1.
                _check_parity(name, factor * run(), logits, expected, gradient)
        _check_parity('op', bootstrapped_cross_entropy(logits, labels, **hard), logits, expected,
                      gradient)

    moved = logits.nbytes + labels.nbytes
    num_valid = (labels != IGNORE_INDEX).sum().item()
    return Case(
        inputs=f'{sizes(shape)} float32, {kept / num_valid:.2%} of the pixels kept ({where}), '
        '5 % ignored',
        runs=runs,
        gradients_of=(logits, ),
        # the logits and labels are read once; the gradient is written
        floor_bytes={'forward': moved, 'forward+backward': moved + logits.nbytes},
        parity=parity)


def _check_parity(name: str, value: Tensor, logits: Tensor, expected: Tensor,
                  gradient: Tensor) -> None:
    found, = torch.autograd.grad(value, logits)
    # One pixel more or less would differ by far more than this.
    tolerance = 1e-3 * gradient.abs().max().item()
    error = (found - gradient).abs().max().item()
    if not torch.isclose(value, expected, rtol=1e-4) or error > tolerance:
        raise AssertionError(
            f'{name} does not keep the same pixels: it is {value.item()}, expected is '
            f'{expected.item()}, and its gradient differs by {error} (allowed: {tolerance}).')
