import argparse
import itertools

import pytest
import torch

# A training that takes a second: 8 small scenes, a network of some hundred weights, 6 iterations.
# Flip and crop draw random numbers, so that an order or a seed that is lost on resuming shows.
TINY_CONFIG = """
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
default_scope = 'mmseg'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[120.] * 3, std=[60.] * 3, size_divisor=16),
    backbone=dict(
        type='UNet', base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
        dec_num_convs=(1, ), downsamples=(True, ), enc_dilations=(1, 1), dec_dilations=(1, ),
        norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead', in_channels=4, in_index=1, channels=4, num_convs=1, concat_input=False,
        dropout_ratio=0, num_classes=12, norm_cfg=norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
dataset = dict(type='ScenesDataset', num_images=8, size=(48, 48))
pack = [dict(type='PackSegInputs')]
augment = [dict(type='RandomFlip', prob=0.5), dict(type='RandomCrop', crop_size=(32, 32))]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=augment + pack, **dataset))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=pack, **dataset))
test_dataloader = val_dataloader
tta_pipeline = [dict(type='TestTimeAug', transforms=[
    [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)], pack])]
tta_model = dict(type='SegTTAModel')
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-3, begin=0, end=6, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=6)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=1),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
custom_hooks = [dict(type='CheckpointCompatibilityHook')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer')
log_processor = dict(by_epoch=False)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork'), dist_cfg=dict(backend='nccl', timeout=60))
randomness = dict(seed=7)
"""
RUN_NUMBERS = itertools.count()


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory):
    """Path of a config that trains anywhere."""
    path = tmp_path_factory.mktemp('tiny') / 'tiny.py'
    path.write_text(TINY_CONFIG)
    return path


@pytest.fixture
def load_tiny_config(tiny_config, tmp_path):
    """Read the config as the tools do, with other entries: ``load(work_dir, **entries)``."""
    from mmseg_ext.engine import launch

    def load(work_dir=tmp_path, **entries):
        cfg = launch.load_config(argparse.Namespace(
            config=str(tiny_config), work_dir=str(work_dir), cfg_options=entries, launcher='none',
            local_rank=0))
        # Runs of one second would share mmengine's global message hub.
        cfg.experiment_name = f'tiny_{next(RUN_NUMBERS)}'
        return cfg

    # More threads only wait for each other in a network this small.
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load
    torch.set_num_threads(num_threads)
