"""Benchmark cases of instances: from files to the loss of a localization network, and predicted."""
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import List, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS, HOOKS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor, nn

import mmseg_ext.datasets  # noqa: F401  (registers what is measured)

from .case import Case, benchmark, sizes
from .engine import folder_to_draw_in

LOADING = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
UNIT = 32.


@benchmark('PascalVOCInstanceDataset', 'LoadInstanceAnnotations')
def voc_instances_item(device: str, small: bool = False) -> Case:
    """Loading an image, its labels and its instances with checks, against mmseg and Pillow."""
    size = (24, 32) if small else (375, 500)
    scene = _scene(size)
    folder = tempfile.TemporaryDirectory()
    root = Path(folder.name)
    for name, picture in (('JPEGImages/0.jpg', scene['img'][..., ::-1]),
                          ('SegmentationClass/0.png', scene['gt_seg_map']),
                          ('SegmentationObject/0.png', np.asarray(scene['gt_instance_map']))):
        (root / name).parent.mkdir()
        Image.fromarray(picture).save(root / name)
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'ImageSets/Segmentation/train.txt').write_text('0\n')
    dataset = DATASETS.build(dict(
        type='PascalVOCInstanceDataset', data_root=folder.name,
        pipeline=[*LOADING, dict(type='LoadInstanceAnnotations')]))
    plain = PascalVOCDataset(
        ann_file='ImageSets/Segmentation/train.txt', data_root=folder.name, pipeline=LOADING,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'))

    def ours(folder=folder) -> dict:  # the files live as long as this function
        return dataset[0]

    def mmsegs() -> dict:
        instances = np.array(Image.open(root / 'SegmentationObject/0.png'))
        return dict(plain[0], gt_instance_map=instances)

    def parity() -> None:
        for key in ('img', 'gt_seg_map', 'gt_instance_map'):
            assert np.array_equal(ours()[key], mmsegs()[key]), key

    return Case(
        inputs=f'JPEG and two PNG files of {sizes(size)}',
        phase='one item',
        runs={'ours': ours, 'mmseg: PascalVOCDataset, instances by Pillow': mmsegs},
        parity=parity)


@benchmark('PackInstanceInputs')
def packing_instances(device: str, small: bool = False) -> Case:
    """Packing a scene with its instances, against mmseg's packing and np.unique of all pixels."""
    size = (48, 64) if small else (504, 504)
    scene = _scene(size)
    pack = TRANSFORMS.build(dict(type='PackInstanceInputs'))
    plain = TRANSFORMS.build(dict(type='PackSegInputs'))

    def ours() -> dict:
        return pack(dict(scene))

    def by_unique() -> dict:
        packed = plain(dict(scene))
        instances = np.where(scene['gt_instance_map'] == 255, 0, scene['gt_instance_map'])
        numbers = np.unique(np.append(0, instances), return_inverse=True)[1][1:]
        numbers = torch.from_numpy(numbers.reshape(1, *size).astype(np.int32))
        packed['data_samples'].gt_instances = PixelData(data=numbers)
        return packed

    def without_instances() -> dict:
        return plain(dict(scene))

    def parity() -> None:
        found, expected = ours(), by_unique()
        assert found['inputs'].equal(expected['inputs'])
        for key in ('gt_sem_seg', 'gt_instances'):
            assert found['data_samples'].get(key).data.equal(expected['data_samples'].get(key).data)

    return Case(
        inputs=f'scene of {sizes(size)}',
        phase='one image',
        runs={
            'ours': ours,
            'mmseg: PackSegInputs, np.unique of all pixels': by_unique,
            'mmseg: PackSegInputs, no instances': without_instances,
        },
        parity=parity)


@benchmark('LocalizationHead', 'LocalizationLoss', 'IoUBootstrapSampler', 'PixelBoxCoder')
def localization_loss(device: str, small: bool = False) -> Case:
    """From the output of a localization network on the stride-8 grid to its bootstrapped loss.

    The baseline finds the boxes in a loop over the instances and compares all channels with a map
    of targets and a mask of the same size.
    """
    shape, classes, min_kept = ((2, 48, 64), 3, 5) if small else ((4, 504, 504), 20, 512)
    samples = _samples(shape, classes, device)
    torch.manual_seed(0)
    output = torch.randn(shape[0], 4 * classes, shape[1] // 8, shape[2] // 8, device=device)
    output = (0.3 * output).requires_grad_()
    head = MODELS.build(dict(
        type='LocalizationHead', in_channels=1, num_classes=classes + 1, label_stride=8,
        sampler=dict(type='IoUBootstrapSampler', min_kept=min_kept))).to(device)

    def ours() -> Tensor:
        return head.loss_by_feat(output, samples)['loss_box']

    def dense() -> Tensor:
        return _dense_loss(output, samples, min_kept)

    def parity() -> None:
        for one, other in zip(*((run(), *torch.autograd.grad(run(), output))
                                for run in (ours, dense))):
            torch.testing.assert_close(one, other)

    return Case(
        inputs=f'{sizes(output.shape)} float32, {classes} classes, instances of {sizes(shape)} '
        f'pixels, {min_kept} kept of an image',
        runs={'ours': ours, 'PyTorch: targets of all channels': dense},
        gradients_of=[output],
        parity=parity)


@benchmark('PixelBoxInstanceSegmentor')
def instances_of_an_image(device: str, small: bool = False) -> Case:
    """From an image to its instances with true semantics, against a semantic network's label map.

    Both have a ResNet-18. They predict different things, so there is no parity to check. The
    localization network is not trained, so its boxes are all of one size.
    """
    image, sample = _packed_scene((48, 64) if small else (375, 500), device)
    torch.manual_seed(0)
    model = _segmentor().to(device).eval()
    semantic = MODELS.build(dict(_network(), decode_head=dict(
        type='FCNHead', in_channels=512, in_index=3, channels=512, num_convs=0,
        concat_input=False, num_classes=12))).to(device).eval()
    batch = dict(inputs=[image])

    def ours() -> List[SegDataSample]:
        with torch.no_grad():
            return model.test_step(dict(batch, data_samples=[sample]))

    def mmsegs() -> List[SegDataSample]:
        with torch.no_grad():
            return semantic.test_step(dict(batch, data_samples=[
                SegDataSample(metainfo=sample.metainfo)]))

    count = len(ours()[0].pred_instances)
    return Case(
        inputs=f'scene of {sizes(image.shape[1:])}, {count} instances found',
        phase='prediction',
        runs={'ours': ours, 'mmseg: EncoderDecoder, FCNHead': mmsegs})


@benchmark('InstanceVisualizationHook')
def instance_visualization_hook(device: str, small: bool = False) -> Case:
    """Drawing and writing the instances of an image, against mmseg's picture of a prediction.

    They draw different pictures, so there is no parity to check.
    """
    image, sample = _packed_scene((48, 64) if small else (384, 384), device)
    folder = folder_to_draw_in(image.cpu(), sample, dict(
        classes=[f'class {i}' for i in range(12)], palette=[[20 * i, 0, 0] for i in range(12)]))
    runner = SimpleNamespace(model=_segmentor().to(device).eval(), iter=0, _train_loop=None)
    runner.model.keeps_votes = True
    batch = dict(inputs=[image], data_samples=[sample])
    with torch.no_grad():
        (sample, ) = runner.model.test_step(dict(batch))
    sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data % 12)
    hook = HOOKS.build(dict(type='InstanceVisualizationHook', draw=True, interval=1))
    hook.before_run(runner)
    mmsegs = HOOKS.build(dict(type='SegVisualizationHook', draw=True, interval=1))

    def ours(folder=folder) -> None:  # holds the folder as long as the run lives
        hook.before_test_iter(runner, 0, batch)
        hook.after_test_iter(runner, 0, batch, [sample])

    def mmseg() -> None:
        mmsegs.after_test_iter(runner, 0, batch, [sample])

    return Case(
        inputs=f'scene of {sizes(image.shape[1:])}, {len(sample.pred_instances)} instances, '
        'written as PNG',
        phase='drawing',
        runs={'ours: four tiles': ours, 'mmseg: SegVisualizationHook': mmseg})


def _network() -> dict:
    """A segmentor without its head."""
    return dict(
        type='EncoderDecoder', data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(type='ResNet', depth=18), test_cfg=ConfigDict(mode='whole'))


def _segmentor() -> nn.Module:
    """A model that takes true labels; the classes 6 to 8 of the scenes have instances."""
    return MODELS.build(dict(
        type='PixelBoxInstanceSegmentor',
        localization=dict(_network(), decode_head=dict(
            type='LocalizationHead', in_channels=512, in_index=3, num_classes=12,
            background=(0, 1, 2, 3, 4, 5, 9, 10, 11), kernel_size=1, dilation=1)),
        min_size=10))


def _packed_scene(size: Tuple[int, int], device: str) -> Tuple[Tensor, SegDataSample]:
    dataset = DATASETS.build(dict(
        type='ScenesDataset', num_images=1, size=size, pipeline=[dict(type='PackInstanceInputs')]))
    return dataset[0]['inputs'].to(device), dataset[0]['data_samples'].to(device)


def _dense_loss(output: Tensor, samples: List[SegDataSample], min_kept: int) -> Tensor:
    """The loss as one writes it down: a map of targets for every channel."""
    n, _, h, w = output.shape
    targets, mask, weights = torch.zeros_like(output), torch.zeros_like(output), []
    centres = [torch.arange(side, device=output.device) * 8 + 4.5 for side in (h, w)]
    y, x = torch.meshgrid(*centres, indexing='ij')
    kept = output.new_zeros(n, h, w)
    for i, sample in enumerate(samples):
        instances, labels = sample.gt_instances.data[0], sample.gt_sem_seg.data[0]
        weight = output.new_zeros(h, w)
        for number in instances.unique():
            if number == 0:
                continue
            ys, xs = (instances == number).nonzero().unbind(dim=1)
            x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
            inside = instances[4::8, 4::8] == number
            last = 4 * int(labels[ys[0], xs[0]])
            values = torch.stack([((x1 + x2) / 2 - x) / UNIT, ((y1 + y2) / 2 - y) / UNIT,
                                  ((x2 - x1) / UNIT).log().expand(h, w),
                                  ((y2 - y1) / UNIT).log().expand(h, w)])
            targets[i, last - 4:last, inside] = values[:, inside]
            mask[i, last - 4:last, inside] = 1
            weight[inside] = ((x2 - x1) * (y2 - y1)).float().rsqrt()
        weights.append(weight / weight[weight > 0].mean())
        own = ((output[i] * mask[i]).view(-1, 4, h, w).sum(dim=0),
               targets[i].view(-1, 4, h, w).sum(dim=0))
        iou = _iou(*(_boxes(each.detach()) for each in own))
        valid = weight > 0
        hard = valid & (iou < 0.7)
        if hard.sum() < min_kept:
            order = iou.where(valid, torch.inf).flatten().argsort(stable=True)
            hard = torch.zeros_like(hard)
            hard.view(-1)[order[:min(min_kept, int(valid.sum()))]] = True
        kept[i] = hard
    losses = F.smooth_l1_loss(output, targets, reduction='none') * mask
    return (losses.sum(dim=1) * torch.stack(weights) * kept).sum() / kept.sum()


def _boxes(values: Tensor) -> Tuple[Tensor, ...]:
    centre, sides = values[:2], values[2:].exp()
    return (*(centre - sides / 2), *(centre + sides / 2))


def _iou(boxes: Tuple[Tensor, ...], others: Tuple[Tensor, ...]) -> Tensor:
    low, high = ([f(a, b) for a, b in zip(boxes[k:k + 2], others[k:k + 2])]
                 for f, k in ((torch.max, 0), (torch.min, 2)))
    common = (high[0] - low[0]).clamp(min=0) * (high[1] - low[1]).clamp(min=0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes, others)]
    return common / (areas[0] + areas[1] - common)


def _samples(shape: Tuple[int, int, int], classes: int, device: str) -> List[SegDataSample]:
    """Ground truth: ten rectangles over each other in each image, of one class each."""
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(shape[0]):
        labels, instances = np.zeros((2, *shape[1:]), np.int64)
        for number in range(1, 11):
            y, x = (rng.integers(0, side // 2) for side in shape[1:])
            h, w = (rng.integers(side // 8, side // 2) for side in shape[1:])
            instances[y:y + h, x:x + w] = number
            labels[y:y + h, x:x + w] = rng.integers(1, classes + 1)
        labels, instances = (torch.from_numpy(each)[None].to(device)
                             for each in (labels, instances))
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels),
                                     gt_instances=PixelData(data=instances.int())))
    return samples


def _scene(size: Tuple[int, int]) -> dict:
    return DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))[0]
