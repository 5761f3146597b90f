"""Benchmark cases of the region method: training it, and training the FCN it is compared with."""
from typing import Callable

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from .case import Case, benchmark, sizes
from .regions import in_words, regions_of_a_scene
from .training_step import training_step

CLASSES, STRIDE = 12, 16


@benchmark('RegionHead', 'FreeFormRoIPool')
def region_head_training_step(device: str, small: bool = False) -> Case:
    """Training step of regions with boxes, of boxes alone, and of mmseg's FCN head.

    Same narrow VGG-16, same scene, loss of every labelled pixel. Finding the regions is left out,
    making boxes, masks and label counts of them is not. The heads are different networks, so there
    is no parity to check.
    """
    regions, labels, _ = regions_of_a_scene(small)
    width, channels = (2, 8) if small else (16, 256)
    size = tuple(labels.shape)
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=labels[None].long().to(device)), metainfo=dict(regions=regions))
    scene = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))[0]
    image = torch.from_numpy(np.ascontiguousarray(scene['img'].transpose(2, 0, 1))).to(device)
    image = (image[None] - 127.) / 60.
    head = dict(
        in_channels=8 * width, in_index=0, channels=channels, num_classes=CLASSES,
        loss_decode=dict(type='ClassWeightedCrossEntropyLoss', per_image=True))
    heads = {
        'ours: regions and boxes': dict(head, type='RegionHead', stride=STRIDE),
        'ours: boxes alone': dict(head, type='RegionHead', stride=STRIDE, features='box'),
        'mmseg: FCNHead': dict(
            head, type='FCNHead', num_convs=2, concat_input=False, norm_cfg=dict(type='BN')),
    }

    def step_of(head: dict) -> Callable[[], None]:
        torch.manual_seed(0)
        model = MODELS.build(dict(
            type='EncoderDecoder',
            backbone=dict(
                type='VGG', base_channels=width, out_indices=(4, ), norm_cfg=dict(type='BN')),
            decode_head=head)).to(device)
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

        def step() -> None:
            losses = model.loss(image, [sample])
            optimizer.zero_grad(set_to_none=True)
            losses['decode.loss_ce'].backward()
            optimizer.step()

        return step

    return Case(
        inputs=f'{sizes(image.shape)} float32, {in_words(regions)}, {CLASSES} classes, VGG-16 of '
        f'{width} channels with batch norm',
        phase='training step',
        runs={name: step_of(head) for name, head in heads.items()})


@benchmark('FCN16sHead')
def fcn16s_head_training_step(device: str, small: bool = False) -> Case:
    """Training step of FCN-16s, and of mmseg's FCN head on the same coarse map.

    Same narrow VGG-16, same images; mmseg's head has a 7x7 convolution too, as wide, but no second
    layer and no finer map. The heads are different networks, so there is no parity to check.
    """
    width, channels, shape = (2, 8, (1, 3, 64, 80)) if small else (16, 256, (1, 3, 600, 600))
    head = dict(channels=channels, num_classes=CLASSES, dropout_ratio=0.5,
                loss_decode=dict(type='ClassWeightedCrossEntropyLoss', per_image=True))
    heads = {
        'ours: FCN-16s': dict(head, type='FCN16sHead', in_channels=(8 * width, 8 * width)),
        'mmseg: FCNHead': dict(
            head, type='FCNHead', in_channels=8 * width, in_index=1, kernel_size=7, num_convs=1,
            concat_input=False, norm_cfg=None),
    }
    backbone = dict(
        type='VGG', base_channels=width, out_indices=(3, 5), norm_cfg=dict(type='BN'))
    return Case(
        inputs=f'{sizes(shape)} float32, {CLASSES} classes, VGG-16 of {width} channels with batch '
        f'norm, heads of {channels} channels',
        phase='training step',
        runs={name: training_step(backbone, head, shape, device)
              for name, head in heads.items()})
