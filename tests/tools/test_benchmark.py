import importlib.util
import json
import re
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


def test_environment_says_which_commit_and_kernels(monkeypatch):
    monkeypatch.setattr(tool, 'extension_loaded', lambda: False)
    environment = tool.environment('cpu')
    assert environment['compiled_extension'] is False
    inside = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=str(ROOT), capture_output=True)
    if inside.returncode == 0:
        assert re.fullmatch(r'[0-9a-f]{7,}(-dirty)?', environment['commit'])
    else:
        assert environment['commit'] is None


@pytest.mark.parametrize('load, said', [(0.01, False), (50., True)])
def test_busy_machine_is_mentioned(monkeypatch, capsys, load, said):
    monkeypatch.setattr(tool.os, 'getloadavg', lambda: (load, 0., 0.))
    tool.warn_if_busy()
    assert ('the numbers will be unsteady' in capsys.readouterr().err) == said
