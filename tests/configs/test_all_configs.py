"""Every config loads, builds its model and runs a loss step and a prediction on a tiny input."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.ops import RegionSet

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)


def test_there_are_configs():
    assert len(LEAVES) > 10


@pytest.mark.filterwarnings('ignore:SEMEDALoss compares features of a network')
@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_builds_and_learns_and_predicts(path, read, narrow, tmp_path):
    cfg = narrow(read(path))
    finds_instances = cfg.model.type == 'PixelBoxInstanceSegmentor'
    if cfg.model.get('semantic'):
        weights = MODELS.build({**cfg.model.semantic, 'init_cfg': None}).state_dict()
        torch.save(weights, tmp_path / 'semantic.pth')
        cfg.model.semantic.init_cfg.checkpoint = str(tmp_path / 'semantic.pth')
    model = revert_sync_batchnorm(MODELS.build(cfg.model))  # SyncBN needs a GPU
    network = cfg.model.localization if finds_instances else cfg.model
    head = network.get('decode_head', network.get('edge_net'))
    head = head[-1] if isinstance(head, list) else head  # the last of a cascade
    num_classes = head.num_classes
    label = torch.randint(0, num_classes, (1, 40, 56))
    label[:, :8] = 255
    cells = torch.arange(40 * 56, dtype=torch.int32).view(40, 56) // 560  # four, of ten rows
    indptr, indices = torch.tensor([0, 1, 3, 4, 8]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    meta = dict(img_shape=(40, 56), ori_shape=(40, 56), pad_shape=(40, 56),
                regions=RegionSet(cells, indptr, indices))
    batch = dict(
        inputs=[torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8) for _ in range(2)],
        data_samples=[
            SegDataSample(
                gt_sem_seg=PixelData(data=label), metainfo=dict(meta),
                gt_instances=PixelData(data=torch.ones_like(label, dtype=torch.int32)))
            for _ in range(2)
        ])
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert torch.isfinite(total) and total > 0
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)
    model.eval()
    with torch.no_grad():
        results = model.test_step(batch)
    if finds_instances:
        assert results[0].pred_instances.masks.shape[1:] == (40, 56)
    if not finds_instances or model.semantic:
        assert results[0].pred_sem_seg.data.shape == (1, 40, 56)


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_trains_evaluates_and_saves(path, read):
    cfg = read(path)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator',
                'test_evaluator', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg.get(key), key
        if key.endswith('dataloader'):
            Compose(cfg[key].dataset.get('pipeline', []))
    assert 'mmseg_ext' in cfg.custom_imports['imports']
    length = cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs
    assert cfg.default_hooks.checkpoint.interval <= length
    by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.default_hooks.checkpoint.get('by_epoch', True) == by_epoch
    assert cfg.log_processor.by_epoch == by_epoch


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_is_a_delta_on_a_base(path):
    assert path.read_text().count('\n') <= 40
    assert '_base_' in path.read_text()


@pytest.mark.parametrize('name, count', [('camvid', 11), ('camvid_segnet_published', 11),
                                         ('labelmefacade', 8), ('sunrgbd_segnet_published', 37)])
def test_class_weights_are_there_for_each_class(name, count):
    table = json.loads((CONFIGS / f'_base_/class_weights/{name}.json').read_text())
    table = table[f'{name}_class_weights']
    assert len(table['median_frequency']) == len(table['classes']) == count
    assert min(table['median_frequency']) > 0


def test_every_table_of_class_weights_is_used_by_a_config():
    texts = [path.read_text() for path in LEAVES]
    for path in (CONFIGS / '_base_/class_weights').glob('*.json'):
        assert any(f'class_weights/{path.name}' in text for text in texts), path.name


def test_another_project_inherits_a_config_in_one_line(tmp_path):
    """By a path, or by package name where mmseg_ext is imported first, as tools/train.py does."""
    name = 'lrn/lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
    for file, target in (('path', CONFIGS / name), ('package', f'mmseg_ext::{name}')):
        (tmp_path / f'by_{file}.py').write_text(
            f"_base_ = {str(target)!r}\nmodel = dict(decode_head=dict(supervision='logits'))\n")
    code = ("import mmseg_ext; from mmengine import Config; from mmseg.registry import MODELS\n"
            "from mmengine.registry import init_default_scope; init_default_scope('mmseg')\n"
            "cfgs = [Config.fromfile(name) for name in ('by_path.py', 'by_package.py')]\n"
            "for cfg in cfgs:\n"
            "    print(MODELS.build(cfg.model).decode_head.supervision, cfg.train_cfg.max_iters)")
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path,
                         capture_output=True, text=True)
    assert run.stdout.split()[-4:] == ['logits', '1200'] * 2, run.stderr


@pytest.mark.parametrize('name', [
    'quickstart/lrn_vgg11bn-w16_1xb4-800_scenes-128x128',
    'regions/region_vgg11bn-w16_1xb4-800_scenes-128x128'])
def test_drawn_scenes_are_others_in_training_than_at_test(name, read):
    cfg = read(name)
    train, val, test = (cfg[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    assert {x.type for x in (train, val, test)} == {'ScenesDataset'}
    assert train.get('seed', 0) not in (val.get('seed', 0), test.get('seed', 0))
