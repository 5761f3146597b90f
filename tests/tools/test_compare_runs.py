import importlib.util
import re
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmseg_ext import provenance
from mmseg_ext.engine import launch
from mmseg_ext.runs.rows import read_rows, write_rows

TOOL = Path(__file__).resolve().parents[2] / 'tools/compare_runs.py'

spec = importlib.util.spec_from_file_location('compare_runs_tool', str(TOOL))
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def row(name, seed, miou, **entries):
    return dict(
        dict(name=name, seed=seed, data='CamVidDataset val', iterations=400, minutes=3., start=None,
             commit='abc', device='A CPU', threads=1, metrics={'aAcc': 0.9, 'mIoU': miou},
             per_class={'IoU': {'sky': miou, 'pole': 0.5}}, curve=None), **entries)


@pytest.fixture
def rows(tmp_path):
    """A file with three runs of a baseline and of a method."""
    path = tmp_path / 'rows.json'
    write_rows(str(path), [row('ce', seed, 50. + seed) for seed in range(3)]
               + [row('new', seed, 53. + 2 * seed) for seed in range(3)])
    return path


class StopAfter(Hook):
    """Ends a training as Ctrl-C does."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx + 1 == 3:
            raise KeyboardInterrupt


def test_runs_that_mmengine_wrote_are_compared_and_kept(load_tiny_config, tmp_path, capsys):
    """A training; one that was stopped and resumed; a test of the first."""
    def build(folder, part=1, **entries):
        # a name of its own: mmengine keeps visualizers for a process
        return launch.build_runner(load_tiny_config(
            folder, **{'visualizer.name': f'{folder}{part}'}, **entries))

    a, b, c = (tmp_path / name for name in 'abc')
    build(a).train()
    metrics = build(c, load_from=str(a / 'iter_6.pth')).test()
    runner = build(b)
    runner.register_hook(StopAfter())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    log = Path(runner.log_dir, f'{runner.timestamp}.log')
    log.rename(log.with_name('20200101_000000.log'))  # the second part may begin in this second
    log.parent.rename(b / '20200101_000000')
    build(b, part=2, resume=True).train()
    for folder in (a, b, c):
        (folder / 'tiny.py').rename(folder / f'{folder.name}.py')

    store = tmp_path / 'rows.json'
    tool.main([str(a), '--', str(b), '--store', str(store)])
    said = capsys.readouterr().out
    assert 'Paired by seed: 7.' in said and '+0.00' in said  # a resumed training ends with the same
    tool.main([str(c), '--store', str(store)])
    kept = {row['name']: row for row in read_rows(str(store))}
    assert all(row['metrics'] == metrics_of(metrics) for row in kept.values())
    assert kept['a']['per_class'] == kept['c']['per_class']
    assert list(kept['a']['per_class']['IoU'])[:3] == ['sky', 'building', 'road']
    assert [kept[name]['iterations'] for name in 'abc'] == [6, 6, None]
    assert kept['a']['start'] is None and kept['c']['start'] == 'a/iter_6.pth'
    origin = provenance.read_origin(provenance.origin_line('cpu'))
    assert [kept['a'][key] for key in ('device', 'threads')] == [origin['device'], 1]


def metrics_of(metrics):
    """As a row has them: without times, four decimals, null for NaN."""
    return {name: None if value != value else round(float(value), 4)
            for name, value in metrics.items() if 'time' not in name}


def test_a_comparison_as_text(rows, capsys):
    tool.main([f'{rows}:ce', '--', f'{rows}:new'])
    assert capsys.readouterr().out == """\
A: 3 x ce; CamVidDataset val; last validation, at iteration 400
B: 3 x new; CamVidDataset val; last validation, at iteration 400
Paired by seed: 0, 1, 2.

metric  A                 B                 B - A              n  single differences
aAcc    0.9000 +- 0.0000  0.9000 +- 0.0000  +0.0000 +- 0.0000  3  +0.0000 +0.0000 +0.0000
mIoU    51.00 +- 0.58     55.00 +- 1.15     +4.00 +- 0.58      3  +3.00 +4.00 +5.00

IoU of class  A              B              B - A          n  single differences
sky           51.00 +- 0.58  55.00 +- 1.15  +4.00 +- 0.58  3  +3.00 +4.00 +5.00
pole          0.50 +- 0.00   0.50 +- 0.00   +0.00 +- 0.00  3  +0.00 +0.00 +0.00
"""


def test_a_comparison_in_markdown_with_chosen_metrics(rows, capsys):
    tool.main(['--format', 'markdown', f'{rows}:ce', '--', '--metrics', 'mI', f'{rows}:new'])
    out = capsys.readouterr().out
    assert '* Paired by seed: 0, 1, 2.\n\n| metric | A | B | B - A |' in out
    assert '| mIoU | 51.00 +- 0.58 | 55.00 +- 1.15 | +4.00 +- 0.58 | 3 | +3.00' in out
    assert 'aAcc' not in out


def test_kept_rows_have_the_chosen_metrics_and_replace_older_ones(rows, tmp_path, capsys):
    new = tmp_path / 'new.json'
    write_rows(str(new), [row('new', 2, 60.), row('new', 3, 61.)])
    tool.main([str(new), '--store', str(rows), '--metrics', '^mIoU$'])
    kept = {(row['name'], row['seed']): row['metrics'] for row in read_rows(str(rows))}
    assert len(kept) == 7 and kept['ce', 0] == {'aAcc': 0.9, 'mIoU': 50.}
    assert kept['new', 2] == {'mIoU': 60.} and kept['new', 3] == {'mIoU': 61.}
    assert capsys.readouterr().out == ''  # without B there is nothing to compare


@pytest.mark.parametrize('arguments, message', [
    (['a', 'b'], "write '--' once, between the runs of A and those of B"),
    (['a', '--', 'b', '--', 'c'], "write '--' once"),
    (['a', '--'], "runs are needed before '--' and behind it"),
    (['--', 'b', '--store', 'x.json'], "runs are needed before '--' and behind it"),
    (['a', '--', 'b', '--metrics', '('], '--metrics is no regular expression')])
def test_wrong_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        tool.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('a, message', [
    ('{rows}', 'must name one config as {rows}:NAME; the file has ce, new'),
    ('{rows}:other', 'must name one config as {rows}:NAME; the file has ce, new'),
    ('{folder}/no.json', 'no.json does not exist; a file of rows is made by'),
    ('{folder}/no', 'no does not exist; a work directory is made by'),
    ('{folder}', 'is no work directory of a training or test')])
def test_what_is_no_run_ends_the_tool_with_a_sentence(rows, tmp_path, a, message):
    names = dict(rows=rows, folder=tmp_path)
    with pytest.raises(SystemExit, match='^error: .*' + re.escape(message.format(**names))):
        tool.main([a.format(**names), '--', f'{rows}:new'])


def test_runs_without_a_common_metric_are_not_compared(rows, tmp_path):
    other = tmp_path / 'other.json'
    write_rows(str(other), [row('other', 0, 0., metrics={'mF1': 1.}, per_class={})])
    with pytest.raises(SystemExit, match='nothing to compare: no metric .* run: aAcc, mIoU, mF1'):
        tool.main([f'{rows}:ce', '--', str(other)])


def test_a_side_says_of_which_runs_it_is(rows):
    mixed = [row('a', 0, 1.), row('b', 1, 1., iterations=800), row('b', 2, 1., iterations=None,
                                                                    data='CamVidDataset test')]
    assert tool.describe('B', mixed) == (
        'B: 3 x a, b; CamVidDataset test, CamVidDataset val; last validation, at iteration 400, '
        '800; last test')
