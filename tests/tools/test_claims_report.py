"""The page of claims says what the committed rows say, and a verdict cannot contradict them."""
import importlib.util
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from mmseg_ext.runs.rows import write_rows

TOOL = Path(__file__).resolve().parents[2] / 'tools/claims_report.py'
TOP = '# Do the methods help?\n\n'

spec = importlib.util.spec_from_file_location('claims_report_tool', str(TOOL))
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def row(name, seed, miou, **entries):
    return dict(
        dict(name=name, seed=seed, data='CamVidDataset val', iterations=400, minutes=3., start=None,
             commit='abc', device='A CPU', threads=1, metrics={'mIoU': miou, 'mF1': 60.},
             per_class={'IoU': {'pole': miou - 40}}, curve=None), **entries)


def runs(name, *values, **entries):
    return [row(name, seed, value, **entries) for seed, value in enumerate(values)]


def claim(**entries):
    return dict(
        dict(family='semeda', claim='SEMEDA helps.', paper='77.1 to 78.8 mIoU (Table 5)',
             paper_difference={'mIoU': 1.7}, data='CamVid val', pairs=[
                 dict(baseline='ce_r18_camvid', method='semeda_r18_camvid')],
             metrics=['mIoU'], settings=4, verdict=None, note=None), **entries)


class Folder:
    """A folder of claims: 50 52 54 against 53 53 59 mIoU, so +3 +- 1.15."""

    def __init__(self, path):
        self.path = path / 'configs/claims'
        self.path.mkdir(parents=True)
        (self.path.parent / 'semeda').mkdir()
        for name in ('semeda/ce_r18_camvid', 'claims/semeda_r18_camvid', 'claims/other_r18_camvid'):
            (self.path.parent / f'{name}.py').touch()
        (self.path / 'README.md').write_text(TOP)
        self.rows(runs('ce_r18_camvid', 50., 52., 54.) + runs('semeda_r18_camvid', 53., 53., 59.))
        self.claims(claim())

    def rows(self, rows, family='semeda'):
        write_rows(str(self.path / f'results/{family}.json'), rows)

    def claims(self, *claims, **families):
        families = families or dict(semeda=dict(
            title='Edges', baselines=['ce_r18_camvid'], metrics=['mIoU', 'mF1', 'IoU of pole']))
        (self.path / 'claims.json').write_text(json.dumps(dict(families=families, claims=claims)))

    def page(self):
        tool.main([])
        return (self.path / 'README.md').read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    monkeypatch.setattr(tool, 'FOLDER', folder.path)
    return folder


def test_the_committed_page_and_figure_are_what_the_tool_writes():
    tool.main(['--check'])


def test_a_claim_is_a_row_with_links_to_its_configs(folder):
    assert folder.page() == TOP + tool.MARK + """
![differences of the claims](differences.png)

| claim | metric | paper | baseline | method | difference | pairs | settings tried | verdict |
|---|---|---|---|---|---|---|---|---|
| SEMEDA helps | mIoU | +1.70 | [52.00 +- 1.15](../semeda/ce_r18_camvid.py) | \
[55.00 +- 2.00](semeda_r18_camvid.py) | +3.00 +- 1.15 | 3 | 4 | holds: > 2 SE |

## Edges

**SEMEDA helps.** Paper: 77.1 to 78.8 mIoU (Table 5). Here: CamVid val; 4 settings tried. Holds.

CamVidDataset val, validation after 400 iterations. Device A CPU; threads 1; commit abc.

| config | seeds | mIoU | mF1 | IoU of pole | difference | minutes |
|---|---|---|---|---|---|---|
| [`ce_r18_camvid`](../semeda/ce_r18_camvid.py) | 0, 1, 2 | 52.00 +- 1.15 | 60.00 +- 0.00 | \
12.00 +- 1.15 |  | 3 |
| [`semeda_r18_camvid`](semeda_r18_camvid.py) | 0, 1, 2 | 55.00 +- 2.00 | 60.00 +- 0.00 | \
15.00 +- 2.00 | +3.00 +- 1.15 | 3 |
"""
    tool.main(['--check'])


def test_the_first_lines_of_a_config_say_what_its_runs_gave(folder):
    config = folder.path / 'semeda_r18_camvid.py'
    config.write_text('# Ours: edges\n# Here: not run\nmodel = dict()  # Here: not this\n')
    with pytest.raises(SystemExit, match='semeda_r18_camvid.py differs from the rows'):
        folder.page()
        config.write_text(config.read_text().replace('55.0', '99.0'))
        tool.main(['--check'])
    folder.page()
    assert config.read_text() == (
        '# Ours: edges\n# Here: 55.0 +- 2.0 mIoU on val; 3 runs of 400 iterations\n'
        'model = dict()  # Here: not this\n')
    folder.rows(runs('semeda_r18_camvid', 53.) + runs('ce_r18_camvid', 50.))
    folder.page()
    assert '# Here: 53.0 mIoU on val; 1 run of 400 iterations\n' in config.read_text()


def test_what_stands_above_the_mark_stays(folder):
    page = folder.page()
    (folder.path / 'README.md').write_text(page.replace(TOP, '# Mine\n\n'))
    assert folder.page() == page.replace(TOP, '# Mine\n\n')


def test_without_claims_and_rows_the_page_says_so(folder):
    folder.claims()
    folder.rows([])
    assert folder.page() == f'{TOP}{tool.MARK}\nNo claims yet.\n\n## Edges\n\nNo rows yet.\n'
    assert not (folder.path / 'differences.png').exists()
    tool.main(['--check'])


def test_a_page_of_other_numbers_is_noticed(folder):
    folder.page()
    folder.rows(runs('ce_r18_camvid', 50., 52., 54.) + runs(
        'semeda_r18_camvid', 53., 53., 59., minutes=30.))  # it is not in the figure
    with pytest.raises(SystemExit, match='python tools/claims_report.py writes them anew'):
        tool.main(['--check'])


def test_a_figure_of_other_numbers_is_noticed(folder):
    folder.page()
    old = (folder.path / 'differences.png').read_bytes()
    folder.claims(claim(paper_difference={'mIoU': 1.8}))
    page = folder.page()
    (folder.path / 'differences.png').write_bytes(old)
    with pytest.raises(SystemExit, match='its figure differs from the rows'):
        tool.main(['--check'])
    folder.claims()
    assert 'differences.png' in page and 'differences.png' not in folder.page()
    tool.main(['--check'])  # it has gone with the last claim
    (folder.path / 'differences.png').write_bytes(old)
    with pytest.raises(SystemExit, match='its figure differs from the rows'):
        tool.main(['--check'])


@pytest.mark.parametrize('method, word', [
    ((53., 53., 59.), 'Holds'), ((51., 52., 55.5), 'Not shown'), ((47., 51., 49.), 'The opposite'),
    ((), 'Not run')])
def test_a_verdict_must_begin_with_what_the_numbers_say(folder, method, word):
    folder.rows(runs('ce_r18_camvid', 50., 52., 54.) + runs('semeda_r18_camvid', *method))
    for verdict in ('Holds, and how.', 'Not shown yet.', 'The opposite.', 'Not run.', 'Mixed.'):
        folder.claims(claim(verdict=verdict))
        if verdict.startswith(word):
            assert f'tried. {verdict}\n' in folder.page()
            continue
        for arguments in ([], ['--check']):
            with pytest.raises(SystemExit, match=rf"'SEMEDA helps.'.*is '{verdict}', but the numb"
                                                 rf"ers .* must begin with '{word}'"):
                tool.main(arguments)


def test_pairs_that_differ_are_mixed_and_the_first_metric_decides(folder):
    folder.rows(runs('ce_r18_camvid', 50., 52., 54.) + runs('semeda_r18_camvid', 53., 53., 59.)
                + runs('other_r18_camvid', 50., 52., 54.))
    pairs = [dict(baseline='ce_r18_camvid', method='semeda_r18_camvid', label='large'),
             dict(baseline='ce_r18_camvid', method='other_r18_camvid', label='small')]
    folder.claims(claim(pairs=pairs, metrics=['mIoU', 'mF1'], verdict='Mixed: large alone.'))
    page = folder.page()
    rows = re.compile(r'^\| (?!claim|pair)(.*?) \| (m.*?) \| (.*?) .* \| (.*) \|$', re.MULTILINE)
    first, section = map(rows.findall, page.split('## '))
    assert first == [('SEMEDA helps, large', 'mIoU', '+1.70', 'holds: > 2 SE'),
                     ('SEMEDA helps, small', 'mIoU', '+1.70', 'not shown')]
    assert section[:2] == [('large', 'mF1', '', 'not shown'), ('small', 'mF1', '', 'not shown')]
    assert [one.metric for one in tool.report(folder.path)[1]] == ['mIoU', 'mIoU']
    folder.claims(claim(pairs=pairs, metrics=['mF1', 'mIoU'], verdict='Not shown.'))
    folder.page()


def test_a_pair_that_was_not_run_or_not_measured_says_so(folder):
    folder.claims(claim(metrics=['mE']), claim(claim='Later.', pairs=[
        dict(baseline='ce_r18_camvid', method='other_r18_camvid')], settings=1))
    page = folder.page()
    assert ('| SEMEDA helps | mE |  | [not measured](../semeda/ce_r18_camvid.py) | '
            '[not measured](semeda_r18_camvid.py) |  | 0 | 4 | not measured |') in page
    assert ('| Later | mIoU | +1.70 | [not run](../semeda/ce_r18_camvid.py) | '
            '[not run](other_r18_camvid.py) |  | 0 | 1 | not run |') in page
    assert '1 setting tried. Not run.' in page


def test_what_is_unlike_and_left_out_stands_below_the_claim(folder):
    folder.rows(runs('ce_r18_camvid', 50., 52., 54.) + runs(
        'semeda_r18_camvid', 53., 53., iterations=800))
    folder.claims(claim(note='A note.'))
    assert """ Not shown. A note.
* semeda_r18_camvid: Left out, A alone has the seed: 2.
* semeda_r18_camvid: Not the same iterations: A 400; B 800.
""" in folder.page()


def test_rows_of_other_iterations_or_data_are_tables_of_their_own(folder):
    """The baseline has the same data and iterations; it may lie in the file of another family."""
    folder.rows(runs('semeda_r18_camvid', 53., 53., 59.)
                + runs('other_r18_camvid', 60., 61., iterations=800)
                + [row('other_r18_camvid', 7, 50., iterations=None, minutes=None)])
    folder.rows(runs('ce_r18_camvid', 50., 52., 54.), family='lrn')
    semeda = dict(title='Edges', baselines=['ce_r18_camvid'], metrics=['mIoU'])
    folder.claims(semeda=semeda, lrn=dict(semeda, title='Stages', baselines=[]))
    page = folder.page().split('## Stages')[0]
    tables = page.split('CamVidDataset val, ')[1:]
    assert [text.split('.')[0] for text in tables] == [
        'validation after 400 iterations', 'validation after 800 iterations', 'test']
    assert '`ce_r18_camvid`' in tables[0] and '+3.00 +- 1.15' in tables[0]
    assert '0, 1 | 60.50 +- 0.50 |  | 3 |' in tables[1]
    assert '| 7 | 50.00 |  |  |' in tables[2]


def test_runs_that_started_from_another_run_are_a_table_of_their_own(folder):
    """Behind the others, although they are as long: 400 iterations more are another training."""
    start = dict(start='ce_r18_camvid/seed0/iter_400.pth')
    folder.rows([row('semeda_r18_camvid', seed, 60., **start) for seed in (0, 1)]
                + runs('other_r18_camvid', 53., 54.))
    tables = folder.page().split('CamVidDataset val, ')[1:]
    ends = [re.match(r'validation after 400 iterations(.*?)\. Dev', text)[1] for text in tables]
    assert ends == ['', ', from [ce_r18_camvid](../semeda/ce_r18_camvid.py)']
    assert '`semeda_r18_camvid`' in tables[1] and '`semeda_r18_camvid`' not in tables[0]


def test_the_baseline_is_the_first_row_of_its_table(folder):
    folder.claims(semeda=dict(title='x', baselines=['semeda_r18_camvid'], metrics=['mIoU']))
    assert re.findall(r'^\| \[`(\w+)`.*\| (\S*).*\| 3 \|$', folder.page(), re.M) == [
        ('semeda_r18_camvid', ''), ('ce_r18_camvid', '-3.00')]


def test_hardware_and_commits_of_a_table_are_all_named(folder):
    folder.rows([row('ce_r18_camvid', 0, 50.), row('ce_r18_camvid', 1, 50., commit=None),
                 row('ce_r18_camvid', 2, 50., commit='def', threads=2)])
    assert 'Device A CPU; threads 1, 2; commits abc, def, unknown.' in folder.page()


def drawn(*values, paper=1.7, **entries):
    """What the figure has of one claim with these differences."""
    pairs = [(row('a', i, 50.), row('b', i, 50. + value)) for i, value in enumerate(values)]
    line = tool.compare_metric(pairs, 'mIoU')
    one = claim(paper_difference={} if paper is None else {'mIoU': paper}, **entries)
    return tool.Shown(one, one['pairs'][0], 'mIoU', line, [], tool.verdict(line.difference))


def test_the_figure_has_a_bar_of_two_errors_and_the_papers_mark():
    """+3 +- 1.15 and the paper's 1.7; one run, an empty dot without a bar and a paper's number."""
    figure = tool.draw([drawn(3., 1., 5.), drawn(-0.5, paper=None)])
    ax, = figure.axes
    assert figure.get_figwidth() * figure.dpi == 800
    points = [(line.get_xdata()[0], line.get_marker(), line.get_markerfacecolor() == 'none')
              for line in ax.lines if line.get_marker() in 'oD']
    assert points == [(3., 'o', False), (1.7, 'D', True), (-0.5, 'o', True)]
    bars = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in ax.containers
            if container.has_xerr]
    assert bars == [pytest.approx([3 - 2 * 1.1547, 3 + 2 * 1.1547], abs=1e-3)]


def test_the_figure_has_a_line_for_each_pair_below_its_claim():
    one, other = drawn(3., 1., 5.), drawn(2., claim='Sobel helps.')
    pairs = [one._replace(pair=dict(one.pair, label=label)) for label in ('large', 'small')]
    ax, = tool.draw([*pairs, other]).axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ['SEMEDA helps.', 'large (mIoU, 3 pairs)', 'small (mIoU, 3 pairs)',
                      'Sobel helps.', 'mIoU, 1 pair']
    dots = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == 'o']
    assert dots == [at for text, at in zip(labels, ax.get_yticks()) if 'pair' in text]


def test_labels_are_broken_into_lines_and_all_is_in_the_figure(folder):
    long = 'A label map and a loss at each of six stages is better than one loss at the end.'
    folder.claims(*(claim(claim=f'{i}. {long}') for i in range(12)))
    folder.page()
    with Image.open(folder.path / 'differences.png') as image:
        assert image.width == 800 and image.height > 700
    figure = tool.draw([drawn(3., 1., claim=long)])
    figure.draw_without_rendering()
    texts = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(0 <= box.x0 and box.x1 <= 400 for box in texts)


@pytest.mark.parametrize('entries, message', [
    (dict(family='edges'), r"'SEMEDA helps.' in claims.json must have a family of semeda, a pair"),
    (dict(pairs=[dict(baseline='ce_r18_camvid')]),
     "a pair of 'SEMEDA helps.' in claims.json must have the entries .*'method'"),
    (dict(pairs=[]), 'must have a family of semeda, a pair and a metric'),
    (dict(metrics=[]), 'must have a family of semeda, a pair and a metric'),
    (dict(settings='4'), "'settings' of claim 'SEMEDA helps.' in claims.json is '4'"),
    (dict(settings=None), "'settings' of claim"),
    (dict(pages=1), "must have the entries .*'pairs'.*but has .*'pages'"),
    (dict(pairs=[dict(baseline='ce_r18_camvid', method='no_r18_camvid')]),
     'names the config no_r18_camvid, but there is no no_r18_camvid.py below')])
def test_a_wrong_claim_is_refused_with_a_sentence(folder, entries, message):
    folder.claims(claim(**entries))
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        tool.main([])
    assert (folder.path / 'README.md').read_text() == TOP


def test_a_file_of_rows_of_no_family_is_refused(folder):
    folder.rows([], family='semantic')
    with pytest.raises(SystemExit, match='results/semantic.json is of no family.* are semeda'):
        tool.main([])


def test_two_files_with_other_rows_of_one_run_are_refused(folder):
    family = dict(title='x', baselines=[], metrics=['mIoU'])
    folder.claims(semeda=family, lrn=family)
    folder.rows(runs('ce_r18_camvid', 50.), family='lrn')
    folder.page()  # the same row in two files
    folder.rows(runs('ce_r18_camvid', 51.), family='lrn')
    with pytest.raises(SystemExit, match='two runs of ce_r18_camvid have the seed 0'):
        tool.main([])
