import subprocess

import pytest
import torch

from mmseg_ext import provenance


def test_the_line_of_a_log_can_be_read_back(monkeypatch):
    monkeypatch.setattr(provenance, 'checked_out', lambda: ('abc1234', []))
    old = provenance.origin_line('cpu')
    monkeypatch.setattr(provenance, 'checked_out', lambda: ('abc1234', ['new.py']))
    log = f'2026/11/22 07:00:20 - {old}\n2026/11/22 08:00:20 - {provenance.origin_line("npu")}\n'
    assert provenance.read_origin(log) == dict(
        version='0.1.0', commit='abc1234-dirty', device='npu', threads=torch.get_num_threads())
    origin = provenance.read_origin(old)
    assert origin['commit'] == 'abc1234' and origin['device'] == provenance.device_name('cpu')
    assert provenance.read_origin('Iter(val) [101/101]  mIoU: 40') is None


@pytest.mark.parametrize('error', [
    OSError('no such folder'), subprocess.TimeoutExpired('git', 20),
    subprocess.CalledProcessError(128, 'git')])
def test_git_that_fails_is_no_commit(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(provenance.subprocess, 'run', fail)
    assert provenance.checked_out() == (None, [])


def test_where_git_gives_up_nothing_is_called_clean(tmp_path):
    """A repository without a commit: git lists its files, and there is no HEAD."""
    (tmp_path / 'mmseg_ext').mkdir()
    (tmp_path / 'mmseg_ext/__init__.py').touch()
    for words in (['init', '-q'], ['add', '.']):
        subprocess.run(['git', *words], cwd=str(tmp_path), check=True)
    assert provenance.checked_out(tmp_path) == (None, [])


def test_rows_and_pages_that_are_written_are_no_change_but_a_config_is(tmp_path):
    written = ['configs/claims/results/lrn.json', 'configs/claims/claims.json',
               'configs/claims/README.md', 'configs/claims/differences.png',
               'mmseg_ext/benchmarks/results/lrn_cpu.json']
    config = 'configs/claims/x.py'
    for name in ('mmseg_ext/__init__.py', config, *written):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('1')
    for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'all']):
        subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a', *words],
                       cwd=str(tmp_path), check=True)
    for name in written:
        (tmp_path / name).write_text('2')
    assert provenance.checked_out(tmp_path)[1] == []
    (tmp_path / config).write_text('2')
    assert provenance.checked_out(tmp_path)[1] == [config]
