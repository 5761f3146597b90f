"""Every config loads, builds its model and runs a loss step and a prediction on a tiny input."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)


def narrow(cfg):
    """Keep what a config composes, with fewer channels: the tests need not train a VGG-16."""
    if cfg.model.backbone.type == 'VGG':
        width = 4
        cfg.model.backbone.base_channels = width
        cfg.model.decode_head.in_channels = [width * m for m in (1, 2, 4, 8, 8, 8)]
    cfg.model.backbone.init_cfg = None
    return cfg


def test_there_are_configs():
    assert len(LEAVES) > 10


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_builds_and_learns_and_predicts(path):
    cfg = narrow(Config.fromfile(path))
    model = MODELS.build(cfg.model)
    num_classes = cfg.model.decode_head.num_classes
    label = torch.randint(0, num_classes, (1, 40, 56))
    label[:, :8] = 255
    meta = dict(img_shape=(40, 56), ori_shape=(40, 56), pad_shape=(40, 56))
    batch = dict(
        inputs=[torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8) for _ in range(2)],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(meta)) for _ in range(2)
        ])
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert torch.isfinite(total) and total > 0
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    with torch.no_grad():
        results = model.test_step(batch)
    assert results[0].pred_sem_seg.data.shape == (1, 40, 56)


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_trains_evaluates_and_saves(path):
    cfg = Config.fromfile(path)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator',
                'test_evaluator', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg.get(key), key
    assert 'mmseg_ext' in cfg.custom_imports['imports']
    assert cfg.default_hooks.checkpoint.interval <= cfg.train_cfg.max_iters


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_is_a_delta_on_a_base(path):
    assert path.read_text().count('\n') <= 40
    assert '_base_' in path.read_text()


def test_lrn_on_camvid_has_the_papers_settings():
    cfg = Config.fromfile(CONFIGS / 'lrn/lrn_vgg16bn_1xb10-80k_camvid-360x480.py')
    assert cfg.train_dataloader.batch_size == 10
    assert cfg.train_cfg.max_iters == 80000
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (1e-3, .9, 5e-4)
    loss = cfg.model.decode_head.loss_decode
    assert loss.normalization == 'pixels'
    assert loss.class_weight[8:] == [.724619798, 5.855012981, 8.136508447]


@pytest.mark.parametrize('name, count', [('camvid', 11), ('camvid_segnet_published', 11),
                                         ('sunrgbd_segnet_published', 37)])
def test_class_weights_are_there_for_each_class(name, count):
    table = json.loads((CONFIGS / f'_base_/class_weights/{name}.json').read_text())
    table = table[f'{name}_class_weights']
    assert len(table['median_frequency']) == len(table['classes']) == count
    assert min(table['median_frequency']) > 0


@pytest.mark.parametrize('base', ['path', 'mmseg_ext::'])
def test_another_project_inherits_a_config_in_one_line(base, tmp_path):
    """By a path, or by package name where mmseg_ext is imported first, as tools/train.py does."""
    name = 'lrn/lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
    target = str(CONFIGS / name) if base == 'path' else base + name
    (tmp_path / 'mine.py').write_text(
        f"_base_ = {target!r}\nmodel = dict(decode_head=dict(supervision='logits'))\n")
    code = ("import mmseg_ext; from mmengine import Config; from mmseg.registry import MODELS\n"
            "from mmengine.registry import init_default_scope; init_default_scope('mmseg')\n"
            "cfg = Config.fromfile('mine.py')\n"
            "print(MODELS.build(cfg.model).decode_head.supervision, cfg.train_cfg.max_iters)")
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path,
                         capture_output=True, text=True)
    assert run.stdout.split()[-2:] == ['logits', '1200'], run.stderr
