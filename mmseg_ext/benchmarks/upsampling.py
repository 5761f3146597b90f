"""Benchmark cases of losses and label maps without logits of full size.

Shapes: N images, C classes, logits (h, w), labels (H, W).
"""
from typing import Callable, Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_ext.ops import bootstrapped_cross_entropy, upsampled_argmax, upsampled_cross_entropy

from .case import Case, benchmark, sizes

# (N, C, h, w), (H, W), share of the pixels that is kept (None: all, by no selection)
LOSS_CASES = (
    ((2, 19, 64, 128), (512, 1024), None),
    ((2, 19, 64, 128), (512, 1024), 0.2),
    ((2, 150, 64, 64), (512, 512), None),
    ((2, 150, 64, 64), (512, 512), 0.2),
)
ARGMAX_CASES = (((1, 19, 128, 256), (1024, 2048)), ((1, 150, 128, 128), (1024, 1024)))
MODELS_OF_MMSEG = {
    'pspnet_r18': 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'segformer_b0': 'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
    'deeplabv3plus_r50': 'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
}
#: (N, 3, H, W) and the number of classes: as with CamVid and as with ADE20K.
STEPS = {'11_classes': ((2, 3, 360, 480), 11), '150_classes': ((2, 3, 512, 512), 150)}


def register_loss_case(small: Sequence[int], large: Sequence[int], share: Optional[float]) -> None:
    """Register the comparison at one size and share of kept pixels."""
    kept = 'all' if share is None else f'1_in_{round(1 / share)}'
    name = f'upsampled_cross_entropy_{sizes(small)}_to_{sizes(large)}_keep_{kept}'

    @benchmark('upsampled_cross_entropy', 'bootstrapped_cross_entropy', name=name)
    def loss_case(device: str, small: bool = False, shape=small, size=large) -> Case:
        """Cross entropy of enlarged logits: ours, and enlargement and loss one after the other.

        Beside them the exponentials alone, one for each pixel and class, of numbers in the cache.
        """
        return _loss_case(*(((2, 5, 4, 6), (32, 48)) if small else (shape, size)), share, device)


for row in LOSS_CASES:
    register_loss_case(*row)


def _loss_case(shape: Sequence[int], size: Sequence[int], share: Optional[float],
               device: str) -> Case:
    torch.manual_seed(0)
    logits = torch.randn(*shape, device=device, requires_grad=True)
    labels = torch.randint(shape[1], (shape[0], *size), device=device)
    count = None if share is None else int(share * labels.numel())

    def ours() -> Tensor:
        return upsampled_cross_entropy(logits, labels, min_kept=count)

    def two_steps() -> Tensor:
        return F.cross_entropy(F.interpolate(logits, size, mode='bilinear'), labels)

    def ours_in_two_steps() -> Tensor:
        large = F.interpolate(logits, size, mode='bilinear')
        return bootstrapped_cross_entropy(large, labels, min_kept=count)

    def parity() -> None:
        for run in (ours_in_two_steps, *([two_steps] if count is None else [])):
            for a, b in zip((ours(), *torch.autograd.grad(ours(), logits)),
                            (run(), *torch.autograd.grad(run(), logits))):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)

    moved = logits.nbytes + labels.nbytes
    return Case(
        inputs=f'{sizes(shape)} to {sizes(size)} float32, '
        + ('all pixels' if share is None else f'the hardest {share:.0%} of the pixels'),
        runs={
            'ours': ours,
            'PyTorch: interpolate, cross_entropy': two_steps,
            'ours in two steps: interpolate, bootstrapped_cross_entropy': ours_in_two_steps,
            'PyTorch: exponentials alone': _exponentials(labels.numel() * shape[1], logits),
        },
        gradients_of=(logits, ),
        # the gradient is written, and everything read once more for it
        floor_bytes={'forward': moved, 'forward+backward': 2 * moved + logits.nbytes},
        parity=parity)


def _exponentials(count: int, logits: Tensor) -> Callable[[], Tensor]:
    """Take so many exponentials of numbers that stay in the cache; with a graph to the logits."""
    numbers = torch.rand(min(count, 1 << 16), device=logits.device)
    out = torch.empty_like(numbers)

    def run() -> Tensor:
        for _ in range(-(-count // numbers.numel())):
            torch.exp(numbers, out=out)
        return logits.sum()

    return run


def register_argmax_case(shape: Sequence[int], size: Sequence[int]) -> None:
    """Register the comparison of label maps at one size."""
    @benchmark('upsampled_argmax', name=f'upsampled_argmax_{sizes(shape)}_to_{sizes(size)}')
    def argmax_case(device: str, small: bool = False, shape=shape, size=size) -> Case:
        """The label map of enlarged logits, against enlargement and argmax."""
        shape, size = ((2, 5, 4, 6), (32, 48)) if small else (shape, size)
        torch.manual_seed(0)
        logits = torch.randn(*shape, device=device)

        def two_steps() -> Tensor:
            return F.interpolate(logits, size, mode='bilinear').argmax(dim=1)

        def ours() -> Tensor:
            return upsampled_argmax(logits, size)

        def parity() -> None:
            # rounding decides between classes that are equal but for it
            assert (ours() == two_steps()).float().mean() > 0.9999

        return Case(
            inputs=f'{sizes(shape)} to {sizes(size)} float32',
            runs={'ours': ours, 'PyTorch: interpolate, argmax': two_steps},
            floor_bytes=dict(forward=logits.nbytes + ours().nbytes),
            parity=parity)


for row in ARGMAX_CASES:
    register_argmax_case(*row)


def _models(name: str, classes: int, device: str) -> Dict[str, nn.Module]:
    """One of mmseg's models with the fused segmentor and as it is, of equal weights."""
    config = ConfigDict(get_config(f'mmseg::{MODELS_OF_MMSEG[name]}').model)
    config.pretrained = config.backbone.init_cfg = None
    heads = [config.decode_head, config.get('auxiliary_head')]
    for head in filter(None, heads):
        head.num_classes = classes
    for part in filter(None, [config.backbone, *heads]):
        part.norm_cfg = dict(type='LN' if 'VisionTransformer' in part.type else 'BN')
    del config['data_preprocessor']
    built = {}
    for key, kind in (('ours: FusedEncoderDecoder', 'FusedEncoderDecoder'),
                      ('mmseg: EncoderDecoder', 'EncoderDecoder')):
        built[key] = MODELS.build(ConfigDict(config, type=kind)).to(device)
    ours, theirs = built.values()
    ours.load_state_dict(theirs.state_dict())
    return built


def register_step_case(name: str, data: str) -> None:
    """Register the training step of one of mmseg's models, with the sizes of a data set."""
    @benchmark('FusedEncoderDecoder', name=f'fused_step_{name}_{data}')
    def step_case(device: str, small: bool = False) -> Case:
        """A whole training step of a model of mmseg, with the fused segmentor and without."""
        shape, classes = ((2, 3, 64, 64), 5) if small else STEPS[data]
        torch.manual_seed(0)
        images = torch.randn(*shape, device=device)
        labels = torch.randint(classes, (shape[0], 1, *shape[2:]), device=device)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        models = _models(name, classes, device)

        def step(model: nn.Module) -> Callable[[], None]:
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

            def run() -> None:
                losses = model.train().loss(images, samples)
                optimizer.zero_grad(set_to_none=True)
                sum(value for key, value in losses.items() if 'loss' in key).backward()
                optimizer.step()

            return run

        def parity() -> None:
            found = []
            for model in models.values():
                torch.manual_seed(0)  # dropout
                found.append(model.train().loss(images, samples))
            torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5, check_dtype=False)

        return Case(
            inputs=f'{sizes(shape)} float32, {classes} classes',
            phase='training step',
            runs={key: step(model) for key, model in models.items()},
            parity=parity)


for model_name in MODELS_OF_MMSEG:
    for data_name in STEPS:
        register_step_case(model_name, data_name)


@benchmark('FusedEncoderDecoder')
def fused_prediction(device: str, small: bool = False) -> Case:
    """The label map of an image of 1024x2048 by SegFormer-B0, with the fused segmentor and not."""
    return _prediction_case('segformer_b0', (64, 96) if small else (1024, 2048), 19, device)


def _prediction_case(name: str, size: Tuple[int, int], classes: int, device: str) -> Case:
    torch.manual_seed(0)
    image = torch.randn(1, 3, *size, device=device)
    models = _models(name, classes, device)

    def predict(model: nn.Module) -> Tensor:
        meta = dict(img_shape=size, pad_shape=size, ori_shape=size)
        with torch.no_grad():
            sample, = model.eval().predict(image, [SegDataSample(metainfo=meta)])
        return sample.pred_sem_seg.data

    def parity() -> None:
        ours, theirs = (predict(model) for model in models.values())
        assert (ours == theirs).float().mean() > 0.9999

    return Case(
        inputs=f'1x3x{sizes(size)} float32, {classes} classes',
        phase='prediction',
        runs={key: (lambda model=model: predict(model)) for key, model in models.items()},
        parity=parity)


@benchmark('FusedCascadeEncoderDecoder')
def fused_cascade_step(device: str, small: bool = False) -> Case:
    """Forward and backward pass of the two heads of OCRNet, with the fused segmentor and not."""
    size, classes = (32, 5) if small else (512, 19)
    torch.manual_seed(0)
    common = dict(
        in_channels=128, in_index=0, num_classes=classes, norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss'), dropout_ratio=0)
    config = ConfigDict(
        num_stages=2,
        backbone=dict(
            type='ResNet', depth=18, base_channels=16, stem_channels=16, strides=(1, 2, 1, 1),
            out_indices=(3, ), norm_cfg=dict(type='BN')),
        decode_head=[
            dict(common, type='FCNHead', channels=32, num_convs=1),
            dict(common, type='OCRHead', channels=32, ocr_channels=16)
        ],
        train_cfg=dict(), test_cfg=dict(mode='whole'))
    images = torch.randn(2, 3, size, size, device=device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in torch.randint(
        classes, (2, 1, size, size), device=device)]
    models = {key: MODELS.build(ConfigDict(config, type=kind)).to(device).train()
              for key, kind in (('ours: FusedCascadeEncoderDecoder', 'FusedCascadeEncoderDecoder'),
                                ('mmseg: CascadeEncoderDecoder', 'CascadeEncoderDecoder'))}
    ours, theirs = models.values()
    ours.load_state_dict(theirs.state_dict())

    def run(model: nn.Module) -> Tuple[Tensor, ...]:
        losses = model.loss(images, samples)
        total = sum(value for key, value in losses.items() if 'loss' in key)
        return torch.autograd.grad(total, list(model.parameters()))

    def parity() -> None:
        torch.testing.assert_close(run(ours), run(theirs), rtol=1e-3, atol=1e-5)

    return Case(
        inputs=f'2x3x{size}x{size} float32, {classes} classes',
        phase='forward+backward',
        runs={key: (lambda model=model: run(model)) for key, model in models.items()},
        parity=parity)
