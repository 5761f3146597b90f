import argparse
import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import MODELS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmseg_ext import provenance
from mmseg_ext.engine import launch

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


class StopAfter(Hook):
    """Ends a training as Ctrl-C does."""

    def __init__(self, num_iters):
        self.num_iters = num_iters

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx + 1 == self.num_iters:
            raise KeyboardInterrupt


def test_interrupted_and_resumed_training_ends_with_the_same_weights(load_tiny_config, tmp_path):
    launch.build_runner(load_tiny_config(tmp_path / 'through')).train()

    runner = launch.build_runner(load_tiny_config(tmp_path / 'stopped'))
    runner.register_hook(StopAfter(3))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert not (tmp_path / 'stopped' / 'iter_4.pth').exists()
    resumed = launch.build_runner(load_tiny_config(tmp_path / 'stopped', resume=True))
    resumed.train()

    wanted = torch.load(tmp_path / 'through' / 'iter_6.pth', weights_only=True)
    given = torch.load(tmp_path / 'stopped' / 'iter_6.pth', weights_only=True)
    start = torch.load(tmp_path / 'stopped' / 'iter_2.pth', weights_only=True)
    name = 'decode_head.conv_seg.weight'
    assert not torch.equal(start['state_dict'][name], wanted['state_dict'][name])
    # Bit for bit: order of images, augmentation, momentum and learning rate all go on.
    torch.testing.assert_close(given['state_dict'], wanted['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(given['optimizer']['state'], wanted['optimizer']['state'],
                               rtol=0, atol=0)
    assert given['param_schedulers'] == wanted['param_schedulers']


def test_resuming_prefers_the_work_folder_to_the_start_of_the_run(load_tiny_config, tmp_path):
    start = tmp_path / 'iter_6.pth'
    cfg = load_tiny_config(tmp_path / 'work', load_from=str(start))
    launch.set_resume(cfg, True)
    assert (cfg.load_from, cfg.resume) == (str(start), False)  # not at iteration 6 of 6

    (tmp_path / 'work').mkdir(exist_ok=True)
    (tmp_path / 'work' / 'last_checkpoint').write_text('work/iter_2.pth')
    launch.set_resume(cfg, True)
    assert (cfg.load_from, cfg.resume) == ('work/iter_2.pth', True)

    cfg = load_tiny_config(tmp_path / 'work')
    launch.set_resume(cfg, True)
    assert (cfg.get('load_from'), cfg.resume) == (None, True)  # mmengine looks in the folder
    launch.set_resume(cfg, False)
    assert not cfg.resume


def test_a_seed_gives_a_run_its_own_folder_and_its_own_start(load_tiny_config, tmp_path):
    cfg = load_tiny_config(tmp_path, load_from='work_dirs/start/seed{seed}/iter_6.pth')
    cfg.randomness.deterministic = True
    launch.set_seed(cfg, 7)
    assert cfg.randomness == dict(seed=7, deterministic=True)
    assert cfg.work_dir == str(tmp_path / 'seed7')
    assert cfg.load_from == 'work_dirs/start/seed7/iter_6.pth'

    cfg = load_tiny_config(tmp_path)
    launch.set_seed(cfg, 7)
    assert cfg.get('load_from') is None


def test_test_time_augmentation_and_predictions_of_a_checkpoint(load_tiny_config, tmp_path):
    launch.build_runner(load_tiny_config(tmp_path / 'train')).train()
    cfg = load_tiny_config(tmp_path / 'test', load_from=str(tmp_path / 'train' / 'iter_6.pth'))
    launch.enable_tta(cfg)
    launch.write_predictions(cfg, str(tmp_path / 'maps'))
    metrics = launch.build_runner(cfg).test()
    assert 0 <= metrics['mIoU'] <= 100
    maps = list((tmp_path / 'maps').glob('*.png'))
    assert len(maps) == 8
    assert np.array(Image.open(maps[0])).shape == (48, 48)


def test_a_test_does_not_resume_the_training_of_its_config(
        load_tiny_config, tmp_path, monkeypatch):
    """Which would build the optimizer and read the training data, and these are not there."""
    cfg = load_tiny_config(resume=True)
    checkpoint = dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=dict(epoch=0, iter=6))
    torch.save(checkpoint, tmp_path / 'iter_6.pth')
    cfg.train_dataloader.dataset = dict(type='CamVidDataset', data_root='no', split='train')
    cfg.dump(tmp_path / 'resumes.py')
    arguments = [tmp_path / 'resumes.py', tmp_path / 'iter_6.pth', '--work-dir', tmp_path / 'work']
    monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, arguments)])
    runpy.run_path(str(TOOLS / 'test.py'), run_name='__main__')
    result, = (tmp_path / 'work').glob('*/*.json')
    assert 'mIoU' in json.loads(result.read_text())


def test_predictions_go_to_the_metric_that_can_write_them(load_tiny_config):
    cfg = load_tiny_config(
        test_evaluator=[dict(type='DumpResults', out_file_path='x.pkl'), dict(type='IoUMetric')])
    launch.write_predictions(cfg, 'maps')
    assert 'output_dir' not in cfg.test_evaluator[0]
    assert cfg.test_evaluator[1].output_dir == 'maps'

    cfg.test_evaluator = dict(type='DumpResults', out_file_path='x.pkl')
    with pytest.raises(ValueError, match='--out needs a metric that writes.* has DumpResults'):
        launch.write_predictions(cfg, 'maps')


def test_drawing_options_reach_hook_and_visualizer(load_tiny_config):
    cfg = load_tiny_config()
    launch.enable_drawing(cfg, show=False, show_dir='pictures', wait_time=3)
    assert cfg.default_hooks.visualization.draw
    assert 'show' not in cfg.default_hooks.visualization
    assert cfg.visualizer.save_dir == 'pictures'

    launch.enable_drawing(cfg, show=True, show_dir=None, wait_time=3)
    assert cfg.default_hooks.visualization.show
    assert cfg.default_hooks.visualization.wait_time == 3

    del cfg.default_hooks['visualization']
    with pytest.raises(ValueError, match='need a visualization hook'):
        launch.enable_drawing(cfg, show=True, show_dir=None, wait_time=3)


def test_tta_without_its_pipeline_is_named(load_tiny_config):
    with pytest.raises(ValueError, match='--tta needs tta_pipeline in the config'):
        launch.enable_tta(load_tiny_config(tta_pipeline=None))


def test_mixed_precision_replaces_the_plain_wrapper_only(load_tiny_config, monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    cfg = load_tiny_config()
    launch.enable_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'

    cfg.optim_wrapper.loss_scale = 512.
    launch.enable_amp(cfg)
    assert cfg.optim_wrapper.loss_scale == 512.

    cfg.optim_wrapper.type = 'OptimWrapperDict'
    with pytest.raises(ValueError, match="but the config has 'OptimWrapperDict'"):
        launch.enable_amp(cfg)


def test_mixed_precision_without_gpu_is_refused(load_tiny_config, monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='--amp needs a GPU'):
        launch.enable_amp(load_tiny_config())


def test_work_dir_comes_from_option_then_config_then_name(tiny_config):
    def work_dir(option, **entries):
        return launch.load_config(argparse.Namespace(
            config=str(tiny_config), work_dir=option, cfg_options=entries, launcher='none',
            local_rank=0)).work_dir

    assert work_dir('option', work_dir='config') == 'option'
    assert work_dir(None, work_dir='config') == 'config'
    assert work_dir(None) == os.path.join('work_dirs', 'tiny')


def test_the_log_says_once_which_commit_runs_and_on_what(load_tiny_config, tmp_path):
    runner = launch.build_runner(load_tiny_config())
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert log.count(provenance.ORIGIN) == 1
    origin = provenance.read_origin(log)
    assert origin['commit'] == provenance.read_origin(provenance.origin_line('cpu'))['commit']
    assert origin['device'] == provenance.device_name('cpu') and origin['threads'] == 1


def test_missing_checkpoint_is_named_and_an_address_is_left_to_mmengine(load_tiny_config):
    with pytest.raises(FileNotFoundError, match='checkpoint no.pth does not exist'):
        launch.build_runner(load_tiny_config(load_from='no.pth'))
    launch.build_runner(load_tiny_config(load_from='https://example.org/weights.pth'))


def test_missing_base_of_a_config_is_named(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("_base_ = './no.py'")
    with pytest.raises(FileNotFoundError, match='config.py cannot be read, a file .*no.py'):
        launch.read_config(str(config))


@pytest.mark.parametrize('tool', [
    'train', 'test', 'generate_regions', 'browse_regions', 'class_frequencies', 'show_semeda'])
def test_missing_config_ends_a_tool_with_one_sentence(monkeypatch, tool):
    checkpoint = ['no.pth'] if tool in ('test', 'show_semeda') else []
    monkeypatch.setattr(sys, 'argv', [tool, 'no.py', *checkpoint])
    with pytest.raises(SystemExit, match='^error: config no.py does not exist.*$') as end:
        runpy.run_path(str(TOOLS / f'{tool}.py'), run_name='__main__')
    assert end.value.__suppress_context__  # so Python prints the sentence alone


def test_launcher_without_torchrun_is_named(load_tiny_config, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    cfg = load_tiny_config()
    cfg.launcher = 'pytorch'
    with pytest.raises(ValueError, match='tools/dist_train.sh'):
        launch.build_runner(cfg)


class BrokenDataset(Dataset):
    """Fails in the process that loads data, in code of this package."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        from mmseg_ext.datasets import ScenesDataset
        ScenesDataset(num_images=-1)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_sentence_of_a_data_set_is_found_whichever_process_loads(num_workers):
    sentence = None
    try:  # pytest.raises would keep the loader alive, which then waits 5 s for its process
        next(iter(DataLoader(BrokenDataset(), num_workers=num_workers)))
    except ValueError as error:
        sentence = launch.user_sentence(error)
    assert sentence.startswith('num_images must be')
    assert '\n' not in sentence


@pytest.mark.parametrize('kind, path, is_shown', [
    (ValueError, launch.PACKAGE_DIR + 'datasets/a.py', True),
    (FileNotFoundError, launch.PACKAGE_DIR + 'models/a.py', True),
    (RuntimeError, launch.PACKAGE_DIR + 'engine/hooks/a.py', True),
    # as torch raises it when shapes do not match
    (RuntimeError, launch.PACKAGE_DIR + 'models/a.py', False),
    (ValueError, launch.PACKAGE_DIR.rstrip('/') + '_other/a.py', False),
    (KeyError, launch.PACKAGE_DIR + 'datasets/a.py', False),
])
def test_only_errors_written_for_the_user_lose_their_traceback(kind, path, is_shown):
    code = compile(f'raise {kind.__name__}("what is wrong")', path, 'exec')
    with pytest.raises(SystemExit if is_shown else kind, match='what is wrong'):
        with launch.errors_as_sentences():
            exec(code)


def test_a_missing_data_set_of_mmsegs_own_is_one_sentence(tmp_path):
    with pytest.raises(SystemExit, match=r'no/train.txt does not exist; .*README.md'):
        with launch.errors_as_sentences():
            PascalVOCDataset(ann_file='no/train.txt', data_root=str(tmp_path))


def test_other_assertions_keep_their_traceback():
    with pytest.raises(AssertionError, match='1 != 2'):
        with launch.errors_as_sentences():
            raise AssertionError('1 != 2')
