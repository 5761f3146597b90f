import importlib.util
import json
import os.path as osp
import re

import numpy as np
import pytest
from mmengine.visualization import LocalVisBackend

from mmseg_ext.engine import launch

TOOL = osp.join(osp.dirname(__file__), '../../tools/plot_trimap.py')

spec = importlib.util.spec_from_file_location('plot_trimap_tool', TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def metrics_of(base, widths=(1, 3), prefix=''):
    """Results as TrimapMetric names them, each with another value."""
    metrics = {'aAcc': 90., 'mIoU': 50.}
    for width in widths:
        for part, value in (('trimap', base), ('outside', base + 30)):
            metrics[f'{prefix}{part}{width}_mIoU'] = value + width
            metrics[f'{prefix}{part}{width}_mAcc'] = -1.
    return metrics


@pytest.fixture
def write(tmp_path):
    """Write a file of results: ``write(name, metrics of a line, ...)`` gives its path."""
    def write(name, *lines):
        path = tmp_path / name
        path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
        return str(path)

    return write


def curves_of(figure):
    """The lines of each panel by label: widths and values."""
    return [{line.get_label(): np.stack(line.get_data()).tolist() for line in ax.lines}
            for ax in figure.axes]


def test_the_file_that_a_test_writes_can_be_read(load_tiny_config, tmp_path):
    cfg = load_tiny_config(tmp_path)
    cfg.test_evaluator = [dict(type='IoUMetric'), dict(type='TrimapMetric', widths=[0, 3])]
    metrics = launch.build_runner(cfg).test()
    path, = tmp_path.glob('*/*.json')
    assert path.stem == path.parent.name  # as the tool says
    assert tool.read_curves(str(path)) == {
        part: {width: metrics[f'{part}{width}_mIoU'] for width in (0, 3)}
        for part in ('trimap', 'outside')}


def test_of_a_training_the_last_validation_counts(tmp_path):
    backend = LocalVisBackend(str(tmp_path))
    for base in (10., 20.):
        backend.add_scalars({'loss': 1., 'lr': 0.1}, step=1)
        backend.add_scalars(metrics_of(base), step=2)
    backend.add_scalars({'loss': 1., 'lr': 0.1}, step=3)
    curves = tool.read_curves(str(tmp_path / 'scalars.json'))
    assert curves == {'trimap': {1: 21., 3: 23.}, 'outside': {1: 51., 3: 53.}}


def test_a_prefix_of_the_names_does_not_matter(write):
    plain, prefixed = write('a', metrics_of(1.)), write('b', metrics_of(1., prefix='test/near/'))
    assert tool.read_curves(plain) == tool.read_curves(prefixed)


def test_each_model_is_a_line_in_both_panels_with_widths_in_order(write):
    runs = {name: [tool.read_curves(write(name, metrics_of(base, widths=(10, 0))))]
            for name, base in (('CE', 10.), ('SEMEDA', 20.))}
    figure = tool.draw(runs)
    assert [ax.get_title(loc='left') for ax in figure.axes] == [
        'within the band', 'outside of the band']
    assert curves_of(figure) == [{'CE': [[0, 10], [10, 20]], 'SEMEDA': [[0, 10], [20, 30]]},
                                 {'CE': [[0, 10], [40, 50]], 'SEMEDA': [[0, 10], [50, 60]]}]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['CE', 'SEMEDA']


def test_files_of_one_name_are_drawn_as_mean_and_range(write):
    runs = [tool.read_curves(write(str(base), metrics_of(base))) for base in (10., 11., 18.)]
    figure = tool.draw({'CE': runs, 'single': runs[:1]})
    assert curves_of(figure)[0]['CE (3 runs)'] == [[1, 3], [14, 16]]
    shaded, = figure.axes[0].collections
    corners = shaded.get_paths()[0].vertices
    assert {tuple(corner) for corner in corners} == {(1, 11), (3, 13), (1, 19), (3, 21)}
    assert 'lowest to highest' in figure.legends[0].get_title().get_text()


def test_a_width_without_pixels_leaves_a_gap(write):
    metrics = metrics_of(10.)
    metrics['outside3_mIoU'] = float('nan')
    figure = tool.draw({'CE': [tool.read_curves(write('a', metrics))]})
    (widths, values), = curves_of(figure)[1].values()
    assert values[0] == 41 and np.isnan(values[1])


def test_models_beyond_the_colours_can_be_told_apart(write):
    runs = [tool.read_curves(write('a', metrics_of(1.)))]
    figure = tool.draw({str(i): runs for i in range(56)})
    styles = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(styles) == 56


def test_the_command_writes_the_figure(write, tmp_path, capsys):
    paths = [write(f'{base}', metrics_of(base)) for base in (10., 12., 20.)]
    out = tmp_path / 'new' / 'trimap.png'
    tool.main([f'CE={paths[0]}', f'CE={paths[1]}', f'SEMEDA={paths[2]}', '--out', str(out)])
    assert out.read_bytes().startswith(b'\x89PNG')
    assert f'The curves are in {out}' in capsys.readouterr().out


def test_names_collect_their_files_and_paths_may_contain_an_equals_sign():
    args = tool.parse_args(['a=lr=0.1/x.json', 'b=y', 'a=z', '--out', 'o.png'])
    assert args.results == {'a': ['lr=0.1/x.json', 'z'], 'b': ['y']}


@pytest.mark.parametrize('arguments, message', [
    (['file.json', '--out', 'o.png'], 'given as NAME=FILE.json, got file.json'),
    (['=file.json', '--out', 'o.png'], 'given as NAME=FILE.json, got =file.json'),
    (['a=b', '--out', 'o.doc'], 'must end in one of .*png.*, got o.doc'),
], ids=['no name', 'empty name', 'unknown format'])
def test_wrong_arguments_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit):
        tool.main(arguments)
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize('lines, message', [
    ([{'mIoU': 50.}], r"no trimap metrics; add dict\(type='TrimapMetric'.*tools/test.py"),
    ([], 'no trimap metrics'),
    ([metrics_of(1.), [1, 2]], 'must be a JSON object, but line 2 is not'),
    ([{**metrics_of(1., prefix='a/'), **metrics_of(1., prefix='b/')}],
     r'2 trimap metrics \(a/, b/\); test with one'),
], ids=['other metrics', 'empty file', 'no object', 'two metrics'])
def test_a_file_without_usable_results_is_refused(write, lines, message):
    with pytest.raises(SystemExit, match=message):
        tool.read_curves(write('file', *lines))


def test_a_file_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / 'iter_10.pth'
    path.write_bytes(b'PK\x03\x04\xff\xfe')
    with pytest.raises(SystemExit, match='is no file of results'):
        tool.read_curves(str(path))


def test_a_missing_file_is_refused_with_where_results_are():
    with pytest.raises(SystemExit, match=r'No such file.*WORK_DIR/TIME/TIME.json'):
        tool.read_curves('nowhere.json')


def test_runs_of_one_name_with_different_widths_are_refused(write):
    runs = [tool.read_curves(write(str(widths), metrics_of(1., widths)))
            for widths in ((1, 3), (1, 4))]
    with pytest.raises(SystemExit, match='files of CE have different widths'):
        tool.draw({'CE': runs})
