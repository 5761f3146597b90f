import importlib.util
import multiprocessing
import os
import os.path as osp
import signal

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_ext.datasets.regions.files import read_regions, write_regions
from mmseg_ext.ops import hierarchical_regions

ROOT = osp.abspath(osp.join(osp.dirname(__file__), '../..'))
TOOL = osp.join(ROOT, 'tools/generate_regions.py')
SETTINGS = dict(scale=20., sigma=0.8, min_size=20)
CONFIG = """
custom_imports = dict(
    imports=['mmseg_ext', 'mmseg_ext.datasets.transforms'], allow_failed_imports=False)
load_regions = dict(
    type='LoadRegions', regions_dir='{root}/regions', img_dir='{root}/images', scale=20,
    min_size=20)
train = dict(
    type='BaseSegDataset', data_root='{root}', img_suffix='.png', metainfo=dict(classes=('a', )),
    data_prefix=dict(img_path='images/train', seg_map_path='no_such_labels'),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), load_regions,
              dict(type='RandomFlip', prob=0.5), dict(type='PackRegionInputs', gt_regions=True)])
val = dict(
    train, data_prefix=dict(img_path='images/val'), test_mode=True,
    pipeline=[dict(type='LoadImageFromFile'), load_regions, dict(type='PackRegionInputs')])
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=3, dataset=train))
val_dataloader = dict(dataset=val)
test_dataloader = val_dataloader
"""

spec = importlib.util.spec_from_file_location('generate_regions_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def draw(seed):
    return np.random.default_rng(seed).integers(0, 255, (24, 32, 3)).astype(np.uint8)


@pytest.fixture
def config(tmp_path):
    """Config of three images for training and one for validation, which is the test set too."""
    for i, name in enumerate(('train/a', 'train/b', 'train/c', 'val/a')):
        path = tmp_path / f'images/{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), draw(i))
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(root=tmp_path))
    return path


def files(tmp_path):
    found = (tmp_path / 'regions').rglob('*')
    return {str(p.relative_to(tmp_path / 'regions')): p for p in found if p.is_file()}


def run(config, *args):
    tool.main([str(config), '--workers', '1', *args])


def test_every_image_gets_one_file_that_load_regions_reads(config, tmp_path, capsys):
    run(config)
    assert set(files(tmp_path)) == {'train/a.npz', 'train/b.npz', 'train/c.npz', 'val/a.npz'}
    for space in ('rgb', 'hsv', 'lab'):
        found, settings = read_regions(files(tmp_path)['train/b.npz'].read_bytes(), space)
        expected = hierarchical_regions(
            np.ascontiguousarray(draw(1)[..., ::-1]), space, **SETTINGS)[:3]
        assert settings == SETTINGS
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one, other)
    output = capsys.readouterr().out
    assert '4 images: 4 made, 0 there already, 0 failed' in output and 's per image' in output
    counts = [len(read_regions(p.read_bytes(), 'rgb')[0][1]) - 1
              for p in files(tmp_path).values()]
    assert f'Regions per image: {np.mean(counts):.1f} in rgb' in output
    assert str(tmp_path / 'regions') in output
    cfg = Config.fromfile(str(config))
    init_default_scope('mmseg')
    sample = DATASETS.build(cfg.val_dataloader.dataset)[0]['data_samples']
    assert len(sample.metainfo['regions'].indptr) > 2


def test_run_again_it_makes_only_what_is_missing_or_wrong(config, tmp_path, capsys):
    run(config)
    there = files(tmp_path)
    before = {name: path.read_bytes() for name, path in there.items()}
    times = {name: path.stat().st_mtime_ns for name, path in there.items()}
    there['train/a.npz'].write_bytes(before['train/a.npz'][:-30])
    smaller = {space: (np.zeros((2, 2), np.int32), np.arange(2), np.arange(1))
               for space in ('rgb', 'hsv', 'lab')}
    write_regions(str(there['train/b.npz']), smaller, SETTINGS)  # of an image of another size
    capsys.readouterr()
    run(config)
    assert '4 images: 2 made, 2 there already, 0 failed' in capsys.readouterr().out
    for name, path in files(tmp_path).items():
        assert (path.stat().st_mtime_ns == times[name]) == (name in ('train/c.npz', 'val/a.npz'))
        assert read_regions(path.read_bytes(), 'lab')[0][0].shape == (24, 32)


def test_files_with_other_settings_are_made_anew(config, tmp_path, capsys):
    run(config)
    config.write_text(config.read_text().replace('scale=20', 'scale=40'))
    run(config, '--splits', 'val')
    assert '1 images: 1 made' in capsys.readouterr().out
    scales = {name: read_regions(path.read_bytes(), 'rgb')[1]['scale']
              for name, path in files(tmp_path).items()}
    assert scales == {'train/a.npz': 20, 'train/b.npz': 20, 'train/c.npz': 20, 'val/a.npz': 40}


def test_a_broken_image_is_named_and_the_others_are_done(config, tmp_path, capsys):
    (tmp_path / 'images/train/b.png').write_bytes(b'no image')
    with pytest.raises(SystemExit, match=r"No regions of '.*train/b.png'"):
        run(config)
    assert set(files(tmp_path)) == {'train/a.npz', 'train/c.npz', 'val/a.npz'}
    assert '4 images: 3 made, 0 there already, 1 failed' in capsys.readouterr().out


@pytest.mark.parametrize('old, new, message', [
    ("img_dir='{root}/images', ", '', r"train/a.png' and '.*val/a.png' would have the same file"),
    ('load_regions,', '', 'has LoadRegions: there are no files'),
    ("regions_dir='{root}/regions'", "regions_dir='s3://bucket/regions'", 'not a local folder'),
    ("img_dir='{root}/images'", "img_dir='{root}/other'", 'does not lie below img_dir'),
])
def test_what_cannot_be_right_ends_the_command_with_a_sentence(config, tmp_path, old, new, message):
    old, new = (text.format(root=tmp_path) for text in (old, new))
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(SystemExit, match=message):
        run(config)
    assert not files(tmp_path)


def test_two_settings_for_one_file_are_refused(config):
    with pytest.raises(SystemExit, match=r'asked for with scale=20,.* and with scale=50'):
        run(config, '--cfg-options', 'test_dataloader.dataset.pipeline.1.scale=50')


def test_a_config_without_the_split_is_told_what_there_is(config):
    with pytest.raises(SystemExit, match=r"no 'x_dataloader'; it has \['train_data"):
        run(config, '--splits', 'x')


def test_no_workers_are_refused(config, capsys):
    with pytest.raises(SystemExit):
        tool.main([str(config), '--workers', '0'])
    assert '--workers must be at least 1' in capsys.readouterr().err


@pytest.mark.skipif(os.name != 'posix', reason='Ctrl-C is a signal')
def test_interrupted_it_leaves_whole_files_and_can_go_on(config, tmp_path, capsys, monkeypatch):
    for i in range(20):
        cv2.imwrite(str(tmp_path / f'images/train/more{i}.png'), draw(i))
    done = []

    class Bar(tool.ProgressBar):

        def update(self):
            done.append(None)
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGINT)  # Ctrl-C is sent to the workers too
            if len(done) == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tool, 'ProgressBar', Bar)
        with pytest.raises(SystemExit, match='Stopped after 3 of 24 .* Run the same command again'):
            run(config)
    there = files(tmp_path)
    assert 3 <= len(there) < 24
    for name, path in there.items():
        assert name.endswith('.npz')
        read_regions(path.read_bytes(), 'lab')
    capsys.readouterr()
    run(config)
    assert f'24 images: {24 - len(there)} made, {len(there)} there' in capsys.readouterr().out
