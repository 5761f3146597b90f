"""What the tests of SemanticEdgeNetHook share: models, label maps and runs that take a second."""
import itertools
import logging
import random

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from torch.utils.data import DataLoader

from mmseg_ext.engine.hooks import SemanticEdgeNetHook
from mmseg_ext.models import SemanticEdgeNet

RUN_NUMBERS = itertools.count()
CE = dict(type='CrossEntropyLoss')
SEMEDA = dict(type='SEMEDALoss', num_classes=3)
BRIEF = dict(num_maps=8, iterations=2, lr=1e-2)
ENOUGH = dict(num_maps=24, iterations=80, lr=2e-2)


class Cells(nn.Module):
    """A backbone without weights: the mean colour of cells of 4x4 pixels."""

    def forward(self, inputs):
        return [F.avg_pool2d(inputs, 4)]


class Maps(list):
    """Images and smooth label maps of three classes; counts how often one is taken.

    Taking one draws random numbers of all kinds, as transforms do.
    """
    taken = 0
    metainfo = dict(classes=('cat', 'dog', 'horse'))

    def __init__(self, number=24, size=16):
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(number, 3, 4, 4, generator=generator)
        labels = F.interpolate(coarse, (size, size), mode='bilinear', align_corners=False).argmax(1)
        super().__init__(
            dict(inputs=torch.rand(3, size, size), data_samples=SegDataSample(
                gt_sem_seg=PixelData(data=label[None]))) for label in labels)

    def __getitem__(self, index):
        self.taken += 1
        random.random(), np.random.rand(), torch.rand(1)
        return super().__getitem__(index)


def make_model(loss_decode, auxiliary=None, num_classes=3):
    torch.manual_seed(0)
    heads = [dict(type='FCNHead', in_channels=3, in_index=0, channels=4, num_convs=1,
                  num_classes=num_classes, loss_decode=loss) for loss in (loss_decode, auxiliary)]
    return MODELS.build(dict(
        type='EncoderDecoder', backbone=dict(type=Cells), decode_head=heads[0],
        auxiliary_head=heads[1] if auxiliary else None,
        data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=1)))


def make_runner(model, folder, hook=BRIEF, maps=None, max_iters=1, **kwargs):
    loader = DataLoader(Maps() if maps is None else maps, batch_size=4, collate_fn=pseudo_collate)
    return Runner(
        model, str(folder), train_dataloader=loader,
        train_cfg=dict(by_epoch=False, max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        custom_hooks=[] if hook is None else [SemanticEdgeNetHook(**hook)], default_scope='mmseg',
        experiment_name=f'semantic_edge_net_{next(RUN_NUMBERS)}', **kwargs)


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, SemanticEdgeNetHook))


def run(model, folder, *args, **kwargs):
    """Train; gives what was logged."""
    runner, messages = make_runner(model, folder, *args, **kwargs), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    return '\n'.join(messages)


def loss_of(head):
    return head.loss_decode[-1] if isinstance(head.loss_decode, nn.ModuleList) else head.loss_decode


def weights_of(loss):
    return [value.clone() for value in loss.edge_net.buffers()]


def same(weights, others):
    return all(torch.equal(*pair) for pair in zip(weights, others))


def some_net(filename, classes=('cat', 'dog', 'horse'), **kwargs):
    """A network that is not trained, stored in a file."""
    net = SemanticEdgeNet(3, **kwargs)
    if classes:
        net.expect_classes(classes)
    net.save(str(filename))
    return net


def stored(filename):
    return list(torch.load(filename, weights_only=True)['state_dict'].values())
