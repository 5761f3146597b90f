import importlib.util
import json
import subprocess
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from mmseg_ext.benchmarks import engine
from mmseg_ext.benchmarks.results_file import read_results
from mmseg_ext.registry import BENCHMARKS

ROOT = Path(__file__).resolve().parents[2]

spec = importlib.util.spec_from_file_location('benchmark_tool', str(ROOT / 'tools/benchmark.py'))
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def run(*args):
    # not the scope that conftest.py sets: the tool has to bring its own
    with DefaultScope.overwrite_default_scope('mmengine'):
        tool.main(['--small', '--rounds', '1', *map(str, args)])


def test_chosen_case_is_measured_printed_and_written(tmp_path, capsys):
    out = tmp_path / 'new' / 'x.json'
    run('--case', 'checkpoint|camvid', '--out', out)
    results = read_results(str(out))
    assert list(results['cases']) == ['camvid_item', 'checkpoint_compatibility_hook']
    assert results['cases']['camvid_item']['covers'] == ['CamVidDataset']
    assert '| mmseg: BaseSegDataset |' in capsys.readouterr().out


def test_out_dir_gets_a_file_for_each_family_named_as_its_module(tmp_path, monkeypatch):
    names = ('camvid_item', 'sunrgbd_item', 'checkpoint_compatibility_hook')
    monkeypatch.setattr(BENCHMARKS, '_module_dict', {
        name: BENCHMARKS.module_dict[name] for name in names})
    run('--out-dir', tmp_path)
    families = {path.name: list(json.loads(path.read_text())['cases'])
                for path in tmp_path.iterdir()}
    assert families == {'datasets_cpu.json': ['camvid_item', 'sunrgbd_item'],
                        'engine_cpu.json': ['checkpoint_compatibility_hook']}
    assert Path(engine.__file__).stem == 'engine'


def test_part_of_a_family_does_not_replace_the_whole(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run('--case', 'camvid', '--out-dir', tmp_path)
    assert '--out-dir writes whole families' in capsys.readouterr().err


def test_case_that_there_is_not_is_answered_with_those_there_are():
    with pytest.raises(SystemExit, match="No case matches 'lnr' among .*lrn_training_step"):
        run('--case', 'lnr')


def test_environment_says_which_kernels(monkeypatch):
    monkeypatch.setattr(tool, 'extension_loaded', lambda: False)
    assert tool.environment('cpu', None, [])['compiled_extension'] is False


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with the package in it, of which the tool believes to measure it."""
    root = tmp_path / 'checkout'
    for name in ('mmseg_ext/__init__.py', 'mmseg_ext/benchmarks/results/x_cpu.json'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('1')
    for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'all']):
        subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a', *words], cwd=str(root),
                       check=True)
    monkeypatch.setattr(tool, 'ROOT', root)
    monkeypatch.setattr(tool, 'RESULTS', root / 'mmseg_ext/benchmarks/results')
    monkeypatch.setattr(tool, 'peaks_in_own_process', lambda names, small: {})
    monkeypatch.setattr(tool, 'run_case', lambda name, args, peaks: CASE)
    return root


RUN = dict(median_s=1., iqr_s=0., ratio=1., times_floor=None, peak_bytes=None)
CASE = dict(covers=[], inputs='', phases=dict(all=dict(rounds=1, floor=None, runs=dict(ours=RUN))))


def measured_commit(path, *args):
    tool.main(['--case', 'camvid', '--out', str(path), *args])
    return read_results(str(path))['environment']['commit']


def test_results_of_a_clean_checkout_name_its_commit(checkout):
    """The second family too: results that were written a moment ago are no change."""
    results = checkout / 'mmseg_ext/benchmarks/results'
    commit, = {measured_commit(results / name) for name in ('x_cpu.json', 'y_cpu.json')}
    head = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=str(checkout), text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    assert len(commit) >= 7 and head.startswith(commit)


@pytest.mark.parametrize('name', ['mmseg_ext/__init__.py', 'mmseg_ext/new.py', 'new.py'])
def test_a_changed_checkout_writes_no_results_but_drafts_that_are_marked(checkout, tmp_path, name):
    (checkout / name).write_text('2')
    path = tmp_path / 'x.json'
    with pytest.raises(SystemExit, match=rf'1 files differ from commit \w+ \({name}\).*--draft'):
        measured_commit(path)
    assert not path.exists()
    assert measured_commit(path, '--draft').endswith('-dirty')


@pytest.mark.parametrize('option', ['--draft', '--small'])
def test_trials_are_not_written_into_the_results_of_the_package(checkout, option):
    results = checkout / 'mmseg_ext/benchmarks/results'
    for target in (['--case', 'camvid', '--out', str(results / 'x.json')],
                   ['--out-dir', str(results)]):
        with pytest.raises(SystemExit, match='--draft and --small do not write below .*results'):
            tool.main([option, *target])
    assert [path.name for path in results.iterdir()] == ['x_cpu.json']


def test_an_installed_package_has_no_commit_and_publishes_nothing(checkout, tmp_path):
    """Even where it lies in the repository of another project, as .venv does."""
    subprocess.run(['git', 'rm', '-rq', '--cached', '.'], cwd=str(checkout), check=True)
    assert measured_commit(tmp_path / 'x.json') is None
    with pytest.raises(SystemExit, match='is no checkout of git; write to another folder'):
        measured_commit(checkout / 'mmseg_ext/benchmarks/results/x_cpu.json')


@pytest.mark.parametrize('load, said', [(0.01, False), (50., True)])
def test_busy_machine_is_mentioned(monkeypatch, capsys, load, said):
    monkeypatch.setattr(tool.os, 'getloadavg', lambda: (load, 0., 0.))
    tool.warn_if_busy()
    assert ('the numbers will be unsteady' in capsys.readouterr().err) == said
