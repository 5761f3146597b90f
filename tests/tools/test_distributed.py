import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmseg_ext.engine import launch

TOOLS = Path(__file__).resolve().parents[2] / 'tools'

# A training or a test here takes 10 s and more: two processes import torch and mmseg, and meet.


# For a file sitecustomize.py, which Python imports when it starts. Registered first, called last.
LIST_THREADS = """
import atexit, os, pathlib

@atexit.register
def list_threads():
    if 'RANK' in os.environ:
        tasks = pathlib.Path('/proc/self/task').iterdir()
        names = [(task / 'comm').read_text().strip() for task in tasks]
        listed = pathlib.Path(__file__).with_name('threads_' + os.environ['RANK'])
        listed.write_text(' '.join(names))
"""


def run_script(name, *arguments, **variables):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = {**os.environ, 'PYTHON': sys.executable, 'PORT': str(port),
                   'CUDA_VISIBLE_DEVICES': '', **variables}
    result = subprocess.run([str(TOOLS / name), *map(str, arguments)], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


@pytest.fixture(scope='module')
def config(tiny_config, tmp_path_factory):
    """The tiny training, such that two processes do the same as one.

    No augmentation, because each process draws its own numbers. Batch norm in evaluation mode,
    because in training it normalises with the images of its process alone; it is SyncBN
    nevertheless, which cannot run without a GPU.
    """
    path = tmp_path_factory.mktemp('config') / 'same.py'
    # With weights this large the scores tell networks apart that have hardly been trained.
    path.write_text(f"""
_base_ = {str(tiny_config)!r}
large = dict(type='Normal', std=1., override=dict(name='conv_seg'))
model = dict(backbone=dict(norm_eval=True), decode_head=dict(norm_cfg=None, init_cfg=large))
train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackSegInputs')]))
train_cfg = dict(max_iters=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
""")
    return path


@pytest.fixture(scope='module')
def training(config, tmp_path_factory):
    """Work folder and output of a training in two processes; the blank has to survive."""
    folder = tmp_path_factory.mktemp('run')
    (folder / 'sitecustomize.py').write_text(LIST_THREADS)
    work_dir = folder / 'two words'
    return work_dir, run_script('dist_train.sh', config, 2, '--work-dir', work_dir,
                                PYTHONPATH=str(folder))


def load(config, work_dir, **options):
    cfg = launch.load_config(argparse.Namespace(
        config=str(config), work_dir=str(work_dir), launcher='none', local_rank=0,
        cfg_options=options))
    cfg.experiment_name = work_dir.name  # runs of one second would share mmengine's message hub
    return cfg


def state_of(path):
    return torch.load(path, weights_only=True)


def test_two_processes_train_evaluate_and_save(training):
    work_dir, output = training
    assert 'Iter(train) [1/1]' in output
    assert re.search(r'Iter\(val\) \[4/4\].* mIoU: \d', output)  # 8 images, 4 for each
    assert (work_dir / 'iter_1.pth').is_file()
    assert output.count('SyncBN in the config is replaced by BN') == 1


def test_the_threads_of_a_process_have_ended_before_the_interpreter_does(training):
    """One that still drops a tensor then aborts the process, which is rare, as it is a race."""
    threads = [path.read_text() for path in training[0].parent.glob('threads_*')]
    assert len(threads) == 2 and all(threads)
    assert not any('gloo' in names for names in threads), threads


def test_gradients_of_two_processes_are_those_of_one_on_the_joined_batch(
        training, config, tmp_path):
    cfg = load(config, tmp_path, **{'train_dataloader.batch_size': 4})
    launch.build_runner(cfg).train()
    # After one step without decay the momentum of SGD is the gradient.
    two, one = (state_of(folder / 'iter_1.pth')['optimizer']['state']
                for folder in (training[0], tmp_path))
    assert len(one) > 4
    for index, state in one.items():
        wanted = state['momentum_buffer']
        assert wanted.abs().max() > 1e-5
        # Float rounding: the two halves of the batch are summed in another order.
        torch.testing.assert_close(two[index]['momentum_buffer'], wanted, rtol=1e-4, atol=1e-7)


@pytest.fixture(scope='module')
def resumed(training, config, tmp_path_factory):
    """Work folder, output and options of a second step, whose batch norm gathers statistics."""
    work_dir = tmp_path_factory.mktemp('resumed') / 'run'
    shutil.copytree(training[0], work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_1.pth'))
    # Statistics of this step alone, which are far apart in the two processes.
    options = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2,
               'model.backbone.norm_eval': False, 'model.backbone.norm_cfg.momentum': 1.}
    output = run_script(
        'dist_train.sh', config, 2, '--work-dir', work_dir, '--resume', '--cfg-options',
        *(f'{key}={value}' for key, value in options.items()), OMP_NUM_THREADS='1')
    return work_dir, output, options


def test_two_processes_resume(resumed):
    work_dir, output, _ = resumed
    assert 'resumed epoch: 0, iter: 1' in output
    assert 'Iter(train) [2/2]' in output and 'Iter(train) [1/2]' not in output
    assert (work_dir / 'iter_2.pth').is_file()


SCORES = r'Iter\({}\) \[\d/\d\] +(aAcc: .* mIoU: .* mAcc: \S+)'


def test_the_saved_checkpoint_is_the_network_that_both_processes_validated(
        resumed, config, tmp_path):
    work_dir, output, options = resumed
    cfg = load(config, tmp_path, load_from=str(work_dir / 'iter_2.pth'), **options)
    scores = launch.build_runner(cfg).test()
    wanted = re.search(SCORES.format('val'), output).group(1)
    assert len(set(re.findall(r'[\d.]+', wanted))) == 3
    assert [f'{name}: {scores[name]:.4f}' for name in ('aAcc', 'mIoU', 'mAcc')] == (
        re.findall(r'\w+: \S+', wanted))


def test_running_means_of_two_processes_are_those_of_the_joined_batch(
        training, resumed, config, tmp_path):
    cfg = load(config, tmp_path, load_from=str(training[0] / 'iter_1.pth'), resume=True,
               **resumed[2], **{'train_dataloader.batch_size': 4})
    launch.build_runner(cfg).train()
    two, one = (state_of(folder / 'iter_2.pth')['state_dict'] for folder in (resumed[0], tmp_path))
    # The layers behind the first one see images that each process has normalised for itself.
    name = next(key for key in one if key.endswith('running_mean'))
    torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)


def test_two_processes_test_a_checkpoint_as_training_evaluated_it(training, config):
    work_dir, training_output = training
    output = run_script('dist_test.sh', config, work_dir / 'iter_1.pth', 2, '--work-dir',
                        work_dir / 'test', OMP_NUM_THREADS='1')
    wanted = re.search(SCORES.format('val'), training_output).group(1)
    assert re.search(SCORES.format('test'), output).group(1) == wanted


@pytest.mark.parametrize('name, arguments', [('dist_train.sh', ['config.py']),
                                             ('dist_test.sh', ['config.py', 'checkpoint.pth'])])
def test_scripts_name_their_arguments(name, arguments):
    result = subprocess.run([str(TOOLS / name), *arguments], text=True, capture_output=True)
    assert result.returncode == 2
    assert result.stderr.startswith('usage:')
