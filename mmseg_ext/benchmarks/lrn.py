"""Benchmark cases of the Label Refinement Network."""
from typing import Callable

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.registry import BENCHMARKS

from .case import Case

BATCH, HEIGHT, WIDTH, CLASSES = 2, 360, 480, 11


@BENCHMARKS.register_module()
def lrn_training_step(device: str) -> Case:
    """Training step (forward, six losses, backward, SGD) of LRN, SegNet and SegNet+DS.

    Same VGG-16 with batch norm, same input, same loss function. The decoders are different
    networks, so there is no parity to check.
    """
    return Case(
        covers=('VGG', 'LRNHead', 'SegNetHead', 'ClassWeightedCrossEntropyLoss'),
        inputs=f'{BATCH}x3x{HEIGHT}x{WIDTH} float32, {CLASSES} classes, VGG-16 with batch norm',
        runs={
            'LRN': _training_step(device, type='LRNHead', norm_cfg=dict(type='BN')),
            'SegNet': _training_step(device, type='SegNetHead'),
            'SegNet+DS': _training_step(device, type='SegNetHead', deep_supervision=True),
        })


def _training_step(device: str, **head) -> Callable[[], None]:
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='VGG', norm_cfg=dict(type='BN')),
            decode_head=dict(
                in_channels=[64, 128, 256, 512, 512, 512],
                num_classes=CLASSES,
                loss_decode=dict(
                    type='ClassWeightedCrossEntropyLoss',
                    class_weight=[1.0] * CLASSES,
                    normalization='pixels'),
                **head))).to(device)
    images = torch.randn(BATCH, 3, HEIGHT, WIDTH, device=device)
    labels = torch.randint(0, CLASSES, (BATCH, 1, HEIGHT, WIDTH), device=device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        losses = model.loss(images, samples)
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()

    return step
