"""A config of mmseg trained for 20 iterations in both ways: the same losses, the same mIoU."""
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmseg_ext.datasets import CamVidDataset, ScenesDataset

CAMVID = Path(os.environ.get('MMSEG_EXT_DATA', 'data')) / 'camvid'
CONFIG = """
_base_ = ['mmseg::_base_/models/fcn_r50-d8.py', 'mmseg::_base_/default_runtime.py']
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
norm_cfg = dict(type='BN')
head = dict(in_channels=64, channels=8, norm_cfg=norm_cfg, num_classes={classes}, dropout_ratio=0)
sampler = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=500)
model = dict(
    type='{type}', pretrained=None, data_preprocessor=dict(size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(sampler=sampler, **head), auxiliary_head=dict(head, in_channels=32))
image, labels = {load}
resize = [dict(type='Resize', scale=(90, 60), keep_ratio=False)]
pack = [dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict({dataset}, pipeline=(
        image + labels + resize + [dict(type='RandomFlip', prob=0.5)] + pack)))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict({dataset}, indices=range(12), pipeline=image + resize + labels + pack))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='IoUMetric')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=20, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), timer=dict(type='IterTimerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=20))
randomness = dict(seed=0)
"""
IMAGES = "[dict(type='LoadImageFromFile')], [dict(type='LoadAnnotations')]"
DATA = {
    'drawn scenes': dict(dataset="type='ScenesDataset', num_images=40, size=(60, 90)",
                         load='[], []', classes=len(ScenesDataset.METAINFO['classes'])),
    'CamVid': dict(dataset=f"type='CamVidDataset', data_root={str(CAMVID)!r}, split='train'",
                   load=IMAGES, classes=len(CamVidDataset.METAINFO['classes'])),
}
NUMBERS = itertools.count()


class Keep(Hook):
    """Keeps what every iteration gives to the log."""

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: float(value) for name, value in outputs.items()})


def runner_of(kind, data, folder, **entries):
    text = CONFIG.format(type=kind, **data)
    cfg = Config.fromstring(text, '.py')
    cfg.merge_from_dict(dict(work_dir=str(folder), default_scope='mmseg', **entries))
    cfg.experiment_name = f'fused_{next(NUMBERS)}'
    return Runner.from_cfg(cfg)


@pytest.mark.parametrize('data', DATA.values(), ids=DATA)
def test_losses_of_every_iteration_and_miou_of_a_checkpoint_are_equal(data, tmp_path):
    if 'CamVid' in data['dataset'] and not CAMVID.is_dir():
        pytest.skip('needs CamVid')
    losses = {}
    for kind in ('EncoderDecoder', 'FusedEncoderDecoder'):
        runner = runner_of(kind, data, tmp_path / kind)
        keep = Keep()
        runner.register_hook(keep)
        runner.train()
        losses[kind] = keep.losses
    expected, found = losses.values()
    assert len(found) == 20 and set(found[0]) == set(expected[0])
    for theirs, ours in zip(expected, found):
        for name, value in theirs.items():  # rounding grows with every step
            np.testing.assert_allclose(ours[name], value, rtol=2e-3, atol=0.2 * ('acc' in name))

    checkpoint = str(tmp_path / 'FusedEncoderDecoder' / 'iter_20.pth')
    results = [runner_of(kind, data, tmp_path / 'test', load_from=checkpoint).test()
               for kind in losses]
    assert results[0]['mIoU'] == pytest.approx(results[1]['mIoU'], abs=0.02)
    weights = torch.load(checkpoint, weights_only=True)['state_dict']
    assert set(weights) == set(
        torch.load(str(tmp_path / 'EncoderDecoder' / 'iter_20.pth'),
                   weights_only=True)['state_dict'])
