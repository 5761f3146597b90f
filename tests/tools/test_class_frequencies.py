import importlib.util
import json
import os
import os.path as osp
import subprocess
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_ext.datasets.camvid_dataset import CamVidDataset
from mmseg_ext.datasets.sunrgbd_dataset import SUNRGBDDataset

ROOT = osp.abspath(osp.join(osp.dirname(__file__), '../..'))
TOOL = osp.join(ROOT, 'tools/class_frequencies.py')
WEIGHTS = osp.join(ROOT, 'configs/_base_/class_weights')

spec = importlib.util.spec_from_file_location('class_frequencies_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture
def config(tmp_path):
    """Config of a CamVid with one label map: 6 sky, 2 building, 2 void; val is absent."""
    for folder, array in (('train', np.zeros((2, 5, 3))),
                          ('trainannot', [[0, 0, 0, 0, 0], [0, 1, 1, 11, 11]])):
        (tmp_path / 'data' / folder).mkdir(parents=True)
        Image.fromarray(np.asarray(array, np.uint8)).save(tmp_path / 'data' / folder / '0.png')
    dataset = dict(
        type='CamVidDataset',
        data_root=str(tmp_path / 'data'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
    path = tmp_path / 'config.py'
    path.write_text("custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)\n"
                    f'train_dataloader = dict(dataset={dataset})\n'
                    f"val_dataloader = dict(dataset={dict(dataset, split='val')})\n")
    return path


def row(output, name):
    line = next(line for line in output.splitlines() if line.startswith(f'| {name} '))
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_table_gives_counts_and_weights_and_void_last(config, capsys):
    tool.main([str(config)])
    output = capsys.readouterr().out
    # freq .6, .2, .2 (void as a class); 8 labelled pixels in 2 classes.
    assert row(output, 'sky') == ['sky', '6', '1', '0.333333333', '0.666666667', '1']
    assert row(output, 'building') == ['building', '2', '1', '1.000000000', '2.000000000', '1']
    assert [line for line in output.splitlines() if line.startswith('| ')][-1].startswith('| void')
    assert row(output, 'void') == ['void', '2', '1', '1.000000000', '-', '-']


def test_only_the_weights_that_a_loss_reads_can_be_written(config, tmp_path):
    path = tmp_path / 'folder/weights.json'
    tool.main([str(config), '--only', 'inverse_frequency', '--out', str(path)])
    loss = MODELS.build(dict(type='ClassWeightedCrossEntropyLoss', class_weight=str(path)))
    counts = np.array([6, 2] + [0] * 9)
    np.testing.assert_allclose(
        loss.class_weight, np.where(counts > 0, 4 / counts.clip(1), 0), rtol=1e-6)


def test_ignored_pixels_can_be_left_out(config, capsys):
    tool.main([str(config), '--ignored', 'drop'])
    output = capsys.readouterr().out
    # freq 6/8 and 2/8 of the labelled pixels, median 1/2.
    assert row(output, 'sky')[3] == '0.666666667'
    assert row(output, 'void')[1:4] == ['2', '1', '0.000000000']


def test_absent_classes_are_named_and_weigh_nothing(config, capsys):
    tool.main([str(config)])
    output = capsys.readouterr().out
    assert 'No pixel of pole, road, pavement,' in output
    assert row(output, 'bicyclist')[1:5] == ['0', '0', '0.000000000', '0.000000000']


def test_json_can_be_inherited_by_a_config(config, tmp_path):
    out = tmp_path / 'weights.json'
    tool.main([str(config), '--out', str(out)])
    child = tmp_path / 'child.py'
    child.write_text("_base_ = ['weights.json']\n"
                     'loss = dict(class_weight={{_base_.camvid_class_weights.median_frequency}})\n')
    weights = Config.fromfile(str(child)).loss.class_weight
    assert weights == [0.333333333, 1.0] + [0.0] * 9
    assert 'NaN' not in out.read_text() and 'null' not in out.read_text()


def test_name_of_the_json_entry_can_be_chosen(config, tmp_path):
    out = tmp_path / 'weights.json'
    tool.main([str(config), '--out', str(out), '--name', 'mine'])
    assert list(json.loads(out.read_text())) == ['mine_class_weights']


def test_settings_can_be_overridden(config, capsys):
    tool.main([
        str(config), '--split', 'val', '--cfg-options', 'val_dataloader.dataset.split=train'
    ])
    assert row(capsys.readouterr().out, 'sky')[1] == '6'


def test_split_without_a_loader_is_refused_with_those_there_are(config):
    with pytest.raises(SystemExit, match=r"no 'test_dataloader'.*'train_dataloader', 'val_data"):
        tool.main([str(config), '--split', 'test'])


def test_missing_data_end_the_command_with_one_sentence(config):
    run = subprocess.run([sys.executable, TOOL, str(config), '--split', 'val'],
                         capture_output=True,
                         text=True)
    assert run.returncode == 1
    assert 'CamVidDataset: the image folder' in run.stderr and '/data/val' in run.stderr
    assert 'Traceback' not in run.stderr


@pytest.mark.parametrize('name, dataset, rare_class', [
    ('camvid', CamVidDataset, ('sign_symbol', 3.533074291)),
    ('camvid_segnet_published', CamVidDataset, ('sign_symbol', 9.6446)),
    ('sunrgbd_segnet_published', SUNRGBDDataset, ('lamp', 5.347752)),
])
def test_shipped_weights_follow_the_classes_and_can_be_inherited(name, dataset, rare_class,
                                                                 tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = [{osp.join(WEIGHTS, name + ".json")!r}]\n'
                     f'weight = {{{{_base_.{name}_class_weights.median_frequency}}}}\n')
    cfg = Config.fromfile(str(child))
    classes = dataset.METAINFO['classes']
    assert tuple(cfg[f'{name}_class_weights'].classes) == classes
    assert len(cfg.weight) == len(classes)
    rare, weight = rare_class
    assert cfg.weight[classes.index(rare)] == weight


def test_shipped_camvid_weights_are_what_the_tool_writes(tmp_path, config, capsys):
    root = os.environ.get('MMSEG_EXT_DATA')
    if not root:
        pytest.skip('MMSEG_EXT_DATA is not set')
    out = tmp_path / 'camvid.json'
    tool.main([
        str(config), '--out', str(out), '--cfg-options',
        f'train_dataloader.dataset.data_root={osp.join(root, "camvid")}'
    ])
    with open(osp.join(WEIGHTS, 'camvid.json'), encoding='utf-8') as file:
        assert file.read() == out.read_text()
    assert row(capsys.readouterr().out, 'void')[3] == '1.097409921'
