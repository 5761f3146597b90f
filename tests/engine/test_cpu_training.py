import datetime

import pytest
import torch
from mmengine.config import Config

from mmseg_ext.engine import cpu_training


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(cpu_training, 'get_device', lambda: 'cpu')


def test_sync_batch_norm_becomes_batch_norm_everywhere(no_gpu):
    cfg = Config(dict(
        sync_bn='torch', norm_cfg=dict(type='SyncBN', requires_grad=True),
        model=dict(neck=[dict(norm_cfg=dict(type='mmcv.MMSyncBN'))],
                   head=dict(norm_cfg=dict(type=torch.nn.SyncBatchNorm), act=dict(type='ReLU')))))
    cpu_training.replace_sync_batch_norm(cfg)
    assert cfg.norm_cfg == dict(type='BN', requires_grad=True)
    assert cfg.model.neck[0].norm_cfg.type == 'BN'
    assert cfg.model.head.norm_cfg.type == 'BN'
    assert cfg.model.head.act.type == 'ReLU'
    assert cfg.sync_bn is None


def test_config_without_sync_batch_norm_stays(no_gpu):
    entries = dict(model=dict(norm_cfg=dict(type='GN', num_groups=2)))
    cfg = Config(entries)
    cpu_training.replace_sync_batch_norm(cfg)
    assert cfg.to_dict() == entries


def test_config_stays_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(cpu_training, 'get_device', lambda: 'cuda')
    entries = dict(launcher='pytorch', norm_cfg=dict(type='SyncBN'))
    cfg = Config(entries)
    cpu_training.replace_sync_batch_norm(cfg)
    cpu_training.prepare_distributed(cfg)
    assert cfg.to_dict() == entries


@pytest.fixture
def joined(monkeypatch):
    """Arguments with which the process group was joined."""
    calls = []
    monkeypatch.setattr(torch.distributed, 'init_process_group',
                        lambda *args, **kwargs: calls.append((args, kwargs)))
    monkeypatch.setattr(cpu_training.atexit, 'register', lambda *args: None)
    return calls


def test_processes_without_gpu_join_gloo_and_wrap_without_device(no_gpu, joined):
    cfg = Config(dict(launcher='pytorch', find_unused_parameters=True))
    cpu_training.prepare_distributed(cfg)
    assert joined == [(('gloo', ), {})]
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
        find_unused_parameters=True)
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'


def test_settings_of_the_user_are_kept_without_gpu(no_gpu, joined):
    cfg = Config(dict(
        launcher='pytorch', model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel'),
        env_cfg=dict(cudnn_benchmark=True, dist_cfg=dict(backend='nccl', timeout=90))))
    cpu_training.prepare_distributed(cfg)
    assert joined == [(('gloo', ), dict(timeout=datetime.timedelta(seconds=90)))]
    assert cfg.model_wrapper_cfg == dict(
        type='MMSeparateDistributedDataParallel', device_ids=None)
    assert cfg.env_cfg == dict(cudnn_benchmark=True, dist_cfg=dict(backend='gloo', timeout=90))


def test_single_process_joins_nothing(no_gpu, joined):
    cfg = Config(dict(launcher='none'))
    cpu_training.prepare_distributed(cfg)
    assert joined == [] and cfg.to_dict() == dict(launcher='none')


def test_launchers_that_need_a_gpu_are_named(no_gpu, joined):
    with pytest.raises(ValueError, match="launcher 'slurm' needs a GPU .*tools/dist_train.sh"):
        cpu_training.prepare_distributed(Config(dict(launcher='slurm')))
