"""Benchmark cases of the networks that SEMEDA was tried on: DeepLab v2, and v3+ with Xception."""
from typing import Tuple

from .case import Case, benchmark, sizes
from .training_step import training_step

CLASSES = 21
FROZEN = dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True)


@benchmark('DeepLabV2Head')
def deep_lab_v2_training_step(device: str, small: bool = False) -> Case:
    """Training step of DeepLab v2, and of mmseg's DeepLab v3 with the same backbone.

    ResNet-101 at stride 8 with frozen batch norm, and four linear branches to the classes or
    mmseg's ``ASPPHead``, whose branches have hidden channels, norm layers and image pooling. Two
    different networks, so there is no parity to check.
    """
    width, channels, size = (4, 8, 64) if small else (64, 512, 160)
    shape = (2, 3, size, size)
    resnet = dict(
        FROZEN, type='ResNet', depth=101, base_channels=width, stem_channels=width,
        strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True)
    head = dict(in_channels=32 * width, in_index=3, num_classes=CLASSES)
    aspp = dict(
        head, type='ASPPHead', channels=channels, dilations=(1, 12, 24, 36),
        norm_cfg=dict(type='BN'))
    return Case(
        inputs=f'{sizes(shape)} float32, {CLASSES} classes, ResNet-101 at stride 8',
        phase='training step',
        runs={
            'ours: DeepLabV2Head': training_step(
                resnet, dict(head, type='DeepLabV2Head'), shape, device),
            'mmseg: ASPPHead': training_step(resnet, aspp, shape, device),
        })


@benchmark('Xception')
def xception_training_step(device: str, small: bool = False) -> Case:
    """Training step of DeepLab v3+ with Xception-71, Xception-65 and mmseg's ResNet-101.

    All at stride 16 with frozen batch norm and mmseg's head of DeepLab v3+. Different networks, so
    there is no parity to check.
    """
    base, channels, size = (4, 8, 64) if small else (32, 512, 160)
    shape = (2, 3, size, size)
    # Both kinds of network have as many channels in the maps that the head takes.
    xception = dict(FROZEN, type='Xception', output_stride=16, base_channels=base)
    resnet, head = deep_lab_v3_plus(2 * base, channels)
    return Case(
        inputs=f'{sizes(shape)} float32, {CLASSES} classes, DeepLab v3+ at stride 16',
        phase='training step',
        runs={
            'ours: Xception-71': training_step(dict(xception, depth=71), head, shape, device),
            'ours: Xception-65': training_step(dict(xception, depth=65), head, shape, device),
            'mmseg: ResNet-101': training_step(resnet, head, shape, device),
        })


def deep_lab_v3_plus(width: int, channels: int) -> Tuple[dict, dict]:
    """Backbone and head of DeepLab v3+ at stride 16 with a frozen ResNet-101.

    The usual ones have 64 channels in the first stage of the ResNet and 512 in the head.
    """
    resnet = dict(
        FROZEN, type='ResNet', depth=101, base_channels=width, stem_channels=width,
        strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), contract_dilation=True)
    head = dict(
        type='DepthwiseSeparableASPPHead', in_channels=32 * width, in_index=3, channels=channels,
        dilations=(1, 6, 12, 18), c1_in_channels=4 * width, c1_channels=48, num_classes=CLASSES,
        norm_cfg=dict(type='BN'))
    return resnet, head
