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


def run_script(name, *arguments):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    environment = {**os.environ, 'PYTHON': sys.executable, 'PORT': str(port),
                   'CUDA_VISIBLE_DEVICES': ''}
    result = subprocess.run([str(TOOLS / name), *map(str, arguments)], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


@pytest.fixture(scope='module')
def config(tiny_config, tmp_path_factory):
    """The tiny training, such that two processes do the same as one.

    No augmentation, because each process draws its own numbers. Batch norm in evaluation mode,
    because in training it sees the batch of its process alone; it is SyncBN nevertheless, which
    cannot run without a GPU.
    """
    path = tmp_path_factory.mktemp('config') / 'same.py'
    path.write_text(f"""
_base_ = {str(tiny_config)!r}
model = dict(backbone=dict(norm_eval=True), decode_head=dict(norm_cfg=None))
train_dataloader = dict(dataset=dict(pipeline=[dict(type='PackSegInputs')]))
train_cfg = dict(max_iters=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
""")
    return path


@pytest.fixture(scope='module')
def training(config, tmp_path_factory):
    """Work folder and output of a training in two processes; the blank has to survive."""
    work_dir = tmp_path_factory.mktemp('run') / 'two words'
    return work_dir, run_script('dist_train.sh', config, 2, '--work-dir', work_dir)


def test_two_processes_train_evaluate_and_save(training):
    work_dir, output = training
    assert 'Iter(train) [1/1]' in output
    assert re.search(r'Iter\(val\) \[4/4\].* mIoU: \d', output)  # 8 images, 4 for each
    assert (work_dir / 'iter_1.pth').is_file()
    assert output.count('SyncBN in the config is replaced by BN') == 1


def test_gradients_of_two_processes_are_those_of_one_on_the_joined_batch(
        training, config, tmp_path):
    cfg = launch.load_config(argparse.Namespace(
        config=str(config), work_dir=str(tmp_path), launcher='none', local_rank=0,
        cfg_options={'train_dataloader.batch_size': 4}))
    launch.build_runner(cfg).train()
    # After one step without decay the momentum of SGD is the gradient.
    two, one = (
        torch.load(folder / 'iter_1.pth', weights_only=True)['optimizer']['state']
        for folder in (training[0], tmp_path))
    assert len(one) > 4
    for index, state in one.items():
        wanted = state['momentum_buffer']
        assert wanted.abs().max() > 1e-5
        # Float rounding: the two halves of the batch are summed in another order.
        torch.testing.assert_close(two[index]['momentum_buffer'], wanted, rtol=1e-4, atol=1e-7)


@pytest.fixture
def one_thread(monkeypatch):
    """Spares the scripts the import of torch with which they look for GPUs."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


def test_two_processes_resume(training, config, tmp_path, one_thread):
    work_dir = tmp_path / 'resumed'
    shutil.copytree(training[0], work_dir)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_1.pth'))
    output = run_script('dist_train.sh', config, 2, '--work-dir', work_dir, '--resume',
                        '--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=3')
    assert 'resumed epoch: 0, iter: 1' in output
    assert 'Iter(train) [2/2]' in output and 'Iter(train) [1/2]' not in output
    assert (work_dir / 'iter_2.pth').is_file()


def test_two_processes_test_a_checkpoint_as_training_evaluated_it(training, config, one_thread):
    work_dir, training_output = training
    output = run_script('dist_test.sh', config, work_dir / 'iter_1.pth', 2, '--work-dir',
                        work_dir / 'test')
    pattern = r'Iter\({}\) \[4/4\] +(aAcc: .* mIoU: .* mAcc: \S+)'
    wanted = re.search(pattern.format('val'), training_output).group(1)
    assert re.search(pattern.format('test'), output).group(1) == wanted


@pytest.mark.parametrize('name, arguments', [('dist_train.sh', ['config.py']),
                                             ('dist_test.sh', ['config.py', 'checkpoint.pth'])])
def test_scripts_name_their_arguments(name, arguments):
    result = subprocess.run([str(TOOLS / name), *arguments], text=True, capture_output=True)
    assert result.returncode == 2
    assert result.stderr.startswith('usage:')
