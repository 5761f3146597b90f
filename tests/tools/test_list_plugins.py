import importlib.util
import re
from pathlib import Path

import pytest
from mmseg.registry import MODELS

from mmseg_ext.benchmarks.results_file import RESULTS, read_results

TOOL = Path(__file__).resolve().parents[2] / 'tools/list_plugins.py'
spec = importlib.util.spec_from_file_location('list_plugins_tool', str(TOOL))
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def run(capsys, *args):
    tool.main(list(args))
    return capsys.readouterr().out


def test_every_plugin_stands_below_its_registry_on_one_screen_each(capsys):
    sections = [text.splitlines() for text in run(capsys).split('\n\n')]
    listed = {lines[0]: [line.partition('(')[0] for line in lines[2::2]] for lines in sections}
    assert listed == {name: list(classes) for name, classes in tool.find_plugins().items()}
    assert {'LRNHead', 'FreeFormRoIPool'} <= set(listed['MODELS']) and 'FCNHead' not in listed[
        'MODELS']
    assert listed['TASK_UTILS'] == ['BootstrapPixelSampler', 'IoUBootstrapSampler', 'PixelBoxCoder']
    assert all(len(line) <= 100 for lines in sections for line in lines)
    assert all(len(lines) <= 50 for lines in sections)


def test_a_line_is_cut_and_full_says_the_rest(capsys):
    short, full = run(capsys, 'xception'), run(capsys, 'xception', '--full')
    assert 'Xception(depth=71, output_stride=8,' in short and 'init_cfg' not in short
    assert [line for line in short.splitlines() if len(line) == 100 and line.endswith('...')]
    joined = ' '.join(full.split())
    assert f'Xception{tool.signature_of(MODELS.get("Xception"))} source: Fig. 4 of ' in joined
    assert "(training step: 'ours: Xception-71' against 'mmseg: ResNet-101')" in joined
    assert all(len(line) <= 100 for line in full.splitlines())


def test_costs_are_those_of_the_committed_results(capsys):
    case = read_results(str(RESULTS / 'lrn_cpu.json'))['cases']['stagewise_iou_metric']
    ours, theirs = (run['median_s'] for run in case['phases']['counting']['runs'].values())
    row = run(capsys, '^StagewiseIoU').splitlines()[-1].split()
    assert row[0] == 'stagewise_iou_metric'
    assert row[1:4] == [*tool.format_seconds(ours).split(), tool.format_factor(ours / theirs)]


def test_a_pattern_chooses_by_name_in_any_case(capsys):
    names = re.findall(r'^(\w+)\(', run(capsys, 'semedaloss|sobel'), re.M)
    assert names == ['SEMEDALoss', 'SobelEdgeLoss']


def test_a_pattern_without_a_plugin_is_refused():
    with pytest.raises(SystemExit, match="error: no plugin matches 'nothing'"):
        tool.main(['nothing'])


def test_a_broken_pattern_is_refused(capsys):
    with pytest.raises(SystemExit):
        tool.main(['('])
    assert "'(' is no regular expression: missing" in capsys.readouterr().err


def test_markdown_has_a_table_for_each_registry(capsys):
    text = run(capsys, '--markdown')
    rows = [line for line in text.splitlines() if line.startswith('|')]
    assert {line.count('|') for line in rows} == {6}
    assert len(re.findall(r'^\| `\w+` \|', text, re.M)) == sum(
        map(len, tool.find_plugins().values()))
    assert '### TASK_UTILS\n\n| plugin |' in text


def timed(*covers, **seconds):
    runs = {name.replace('_', ' '): dict(median_s=s) for name, s in seconds.items()}
    return dict(covers=list(covers), phases=dict(all=dict(floor=None, runs=runs)))


@pytest.mark.parametrize('name, expected', [
    ('A', ('narrow', '2.00 s', '0.50', "all: 'ours' against 'theirs'")),
    ('B', ('wide', '5.00 s', '10', "all: 'ours with B' against 'quick'")),
    ('Z', None)])
def test_the_cost_is_that_of_the_narrowest_case_and_of_the_run_with_the_name(name, expected):
    wide = timed('A', 'B', 'C', ours=1., ours_with_B=5., slow=3., quick=0.5)
    found = tool.cost_of(name, dict(wide=wide, narrow=timed('A', ours=2., theirs=4.)))
    assert found == (expected and tool.Cost(*expected))


def test_a_plugin_without_a_number_is_said_to_be_not_measured():
    plugin = tool.Plugin('A', 'MODELS', '()', '-', None)
    for write in (tool.table, tool.full_table, tool.markdown):
        assert 'not measured' in write([plugin])


@pytest.mark.parametrize('docstring, source', [
    ('Do it.\n\nEq. 6 to 8 and Eq. 2 of `A title: of two\nparts <https://a.b/c>`_; as in Fig. 1.',
     'Eq. 6 to 8, Eq. 2 of A title: of two parts'),
    ('Do it.\n\nWu, Shen, "Some title", 2016, Sec. 2.3 and 3.1.',
     'Sec. 2.3 and 3.1 of Some title'),
    ('As in "Other", 2015. `Title <https://a.b>`_ (Table 3).', 'Table 3 of Title'),
    ('It is "Quoted" (Fig. 5 of the paper).', 'Fig. 5: It is "Quoted" (Fig. 5 of the paper).'),
    ('Scenes.\n\nLiu, Yuen and Torralba, CVPR 2009: 200 images. See Sec. 4.',
     'Liu, Yuen and Torralba, CVPR 2009'),
    ('Do it.\n\nArgs:\n    a (int): Eq. 3.', '-')])
def test_the_source_is_what_the_docstring_cites(docstring, source):
    assert tool.source_of(type('A', (), dict(__doc__=docstring))) == source


def test_the_signature_has_defaults_and_no_annotations():
    class A:
        def __init__(self, a: int, *, b: float = 2.) -> None:
            pass

    assert tool.signature_of(A) == '(a, *, b=2.0)'
