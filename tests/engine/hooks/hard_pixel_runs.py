"""What the tests of HardPixelVisualizationHook share: model, images, training, counts by hand."""
import itertools

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_ext.engine.hard_pixel_statistics import true_class_probability

CLASSES, PALETTE = ('sky', 'car', 'pole'), [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
CE = dict(type='CrossEntropyLoss')
OWN = dict(type='BootstrappedCrossEntropyLoss', min_kept=20)
NUMBERS = itertools.count()


class Cells(nn.Module):
    """A backbone without weights: the mean colour of cells of 8x8 pixels."""

    def forward(self, inputs):
        return [nn.functional.avg_pool2d(inputs.float(), 8)]


def make_model(loss_decode=OWN, sampler=None, label_stride=None):
    torch.manual_seed(0)
    head = dict(type='FCRNHead', in_channels=3, num_classes=3, kernel_size=1, dilation=1,
                init_cfg=dict(type='Normal', layer='Conv2d', std=1.), label_stride=label_stride,
                loss_decode=loss_decode, sampler=sampler)
    model = MODELS.build(ConfigDict(
        type='EncoderDecoder', backbone=dict(type=Cells), decode_head=head,
        test_cfg=dict(mode='whole'), data_preprocessor=dict(
            type='SegDataPreProcessor', size_divisor=1, mean=[0] * 3, std=[255] * 3)))
    model.init_weights()
    return model


def make_sample(seed, size=(32, 48)):
    generator = torch.Generator().manual_seed(seed)
    sample = SegDataSample(metainfo=dict(
        ori_shape=size, img_shape=size, pad_shape=size, img_path=f'no/such/file_{seed}.jpg'))
    labels = torch.randint(0, 3, (1, *size), generator=generator)
    labels[:, :5] = 255
    sample.gt_sem_seg = PixelData(data=labels)
    return dict(inputs=torch.randint(0, 256, (3, *size), generator=generator).byte(),
                data_samples=sample)


def collate(samples):
    return {name: [sample[name] for sample in samples] for name in samples[0]}


def train(hook, runner, iterations=1, batch_size=2):
    """Run training iterations; gives the losses, and how many hooks the loss had in each."""
    hook.before_train(runner)
    losses, num_hooks = [], []
    model = runner.model
    head = getattr(model, 'module', model).decode_head
    loss = head.loss_decode[-1] if isinstance(head.loss_decode, nn.ModuleList) else head.loss_decode
    for runner.iter in range(iterations):
        batch = collate([make_sample(10 * runner.iter + i) for i in range(batch_size)])
        before = len(loss._forward_pre_hooks)
        hook.before_train_iter(runner, runner.iter, batch)
        num_hooks.append(len(loss._forward_pre_hooks) - before)
        batch = getattr(model, 'module', model).data_preprocessor(batch, True)
        losses.append(model(**batch, mode='loss'))
        hook.after_train_iter(runner, runner.iter, batch, losses[-1])
        assert len(loss._forward_pre_hooks) == before
    return losses, num_hooks


def scalar(runner, name):
    return runner.message_hub.get_scalar(name).current()


def brute_force(logits, labels, min_kept=None, thresh=None):
    """Kept pixels of one set, as (p_y, label) pairs in order, and the labels of all valid ones."""
    probability = true_class_probability(logits, labels).flatten().tolist()
    pairs = sorted((p, y) for p, y in zip(probability, labels.flatten().tolist()) if y != 255)
    below = [pair for pair in pairs if thresh is not None and pair[0] < thresh]
    kept = below if min_kept is None or len(below) > min_kept else pairs[:min_kept]
    return kept, [y for _, y in pairs]


def table_rows(runner):
    return [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in runner.logger[-1].splitlines() if '|' in line][1:]
