import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tool(tmp_path):
    """The tool, with another folder of results."""
    spec = importlib.util.spec_from_file_location(
        'benchmark_report_tool', str(ROOT / 'tools/benchmark_report.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.RESULTS = tmp_path
    return module


def write(path, name='a_case'):
    run = dict(median_s=0.5, iqr_s=0.01, ratio=1., times_floor=None, peak_bytes=None)
    text = ('device', 'os', 'machine', 'python', 'torch', 'numpy', 'mmcv', 'mmengine', 'mmseg')
    environment = dict(
        {key: 'x' for key in text}, commit=None, threads=1, compiled_extension=True)
    phase = dict(rounds=1, floor=None, runs=dict(ours=run))
    cases = {name: dict(covers=['VGG'], inputs='none', phases=dict(forward=phase))}
    path.write_text(json.dumps(dict(environment=environment, cases=cases)))


def test_all_results_are_drawn_and_the_page_is_written_anew(tool, tmp_path, capsys):
    write(tmp_path / 'one_cpu.json', 'a_case')
    write(tmp_path / 'two_cpu.json', 'b_case')
    (tmp_path / 'README.md').write_text('old')
    tool.main([])
    page = (tmp_path / 'README.md').read_text()
    assert '### a_case' in page and '### b_case' in page and 'old' not in page
    assert page.strip() == capsys.readouterr().out.strip()
    assert {path.name for path in tmp_path.glob('*.png')} == {'one_cpu.png', 'two_cpu.png'}


def test_given_file_is_drawn_beside_itself_and_the_page_is_left_alone(tool, tmp_path, capsys):
    (tmp_path / 'mine').mkdir()
    write(tmp_path / 'mine' / 'x.json')
    tool.main([str(tmp_path / 'mine' / 'x.json')])
    assert '### a_case' in capsys.readouterr().out
    assert (tmp_path / 'mine' / 'x.png').exists()
    assert not (tmp_path / 'README.md').exists()


def test_file_that_is_no_results_ends_with_one_sentence(tool, tmp_path):
    (tmp_path / 'x.json').write_text('{"cases": {}}')
    with pytest.raises(SystemExit, match=r'x\.json: results must have the entries'):
        tool.main([])


def test_empty_folder_says_how_to_measure(tool):
    with pytest.raises(SystemExit, match='make benchmark'):
        tool.main([])
