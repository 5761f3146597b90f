import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from mmseg_ext.benchmarks import report

ENVIRONMENT = dict(device='some CPU', threads=2, commit='0123abc', torch='2.0',
                   compiled_extension=False)


def phase(floor, **seconds):
    first = next(iter(seconds.values()))
    runs = {
        name: dict(median_s=s, iqr_s=s / 10, ratio=first / s, peak_bytes=3 * 2**20,
                   times_floor=s / floor if floor else None) for name, s in seconds.items()
    }
    floor = floor and dict(bytes=8_000_000, median_s=floor, iqr_s=0.)
    return dict(rounds=5, floor=floor, runs=runs)


@pytest.fixture
def results():
    phases = {
        'forward': phase(0.001, ours=0.002, theirs=0.004),
        'forward+backward': phase(0.002, ours=0.02, theirs=0.01),
    }
    seconds = {'ours: fast': 0.01, 'ours: other': 0.001, 'slower': 30., 'slow': 20.}
    step = {'training step': phase(None, **seconds)}
    return dict(environment=ENVIRONMENT, cases=dict(
        a_loss=dict(inputs='2x3', phases=phases), a_step=dict(inputs='4x5', phases=step)))


@pytest.mark.parametrize('seconds, text', [
    (5.1726, '5.17 s'), (0.9996, '1000 ms'), (0.0994, '99.4 ms'), (0.00123, '1.23 ms'),
    (2.5e-6, '2.50 µs'), (0., '0.00 µs'),
])
def test_times_have_three_digits_and_a_unit(seconds, text):
    assert report.format_seconds(seconds) == text


def test_table_has_each_run_of_each_phase_and_losses_too(results):
    lines = report.case_table('a_loss', results['cases']['a_loss']).splitlines()
    assert '| ours | 2.00 ms | 200 µs | 1.00 | 2.0 | 3 MiB |' in lines
    assert '| theirs | 4.00 ms | 400 µs | 0.50 | 4.0 | 3 MiB |' in lines
    assert '| theirs | 10.0 ms | 1.00 ms | 2.00 | 5.0 | 3 MiB |' in lines
    assert '| *floor: 8.0 MB to move* | 1.00 ms | 0.00 µs | | 1 | |' in lines


@pytest.mark.parametrize('factor, text', [
    (17.41, '17'), (9.999, '10'), (1.044, '1.04'), (0.5, '0.50'), (0.0881, '0.088'),
    (0.0005, '0.0005')])
def test_ratios_have_two_digits_however_far_the_times_are_apart(factor, text):
    assert report.format_factor(factor) == text


@pytest.mark.parametrize('floors, text', [
    (2257.13, '> 100'), (99.7, '100'), (9.96, '10'), (4.4786, '4.5'), (0.66, '0.7'), (None, '')])
def test_floors_are_rounded_to_what_they_say(floors, text):
    assert report.format_floors(dict(times_floor=floors)) == text


def test_page_begins_with_one_row_a_case_of_ours_beside_the_fastest_baseline(results):
    """In the last phase; the fastest run of all may be one of ours that computes something else."""
    page = report.readme(dict(some_cpu=results))
    begin, rest = page.split('## All numbers')
    assert '\n## some CPU, 2 threads, torch 2.0, CPU kernels: PyTorch fallback\n' in begin
    assert ('| a_loss (forward+backward) | 20.0 ms | 10.0 ms, theirs | 2.00 | 10 | 3 MiB | 3 MiB |'
            in begin)
    assert '| a_step (training step) | 10.0 ms | 20.0 s, slow | 0.0005 |  | 3 MiB |' in begin
    assert 'Of 2 cases ours is faster than the fastest baseline in 1, slower in 1, and' in begin
    assert '### ' not in begin
    assert rest.count('<details>') == rest.count('</details>') == 1
    assert '![some_cpu](some_cpu.png)' in rest and '### a_loss' in rest and '### a_step' in rest


@pytest.mark.parametrize('ratio, text', [
    (0.94, 'in 1, slower in 0, and within 5% of it in 0'),
    (0.96, 'in 0, slower in 0, and within 5% of it in 1'),
    (1.04, 'in 0, slower in 0, and within 5% of it in 1'),
    (1.06, 'in 0, slower in 1, and within 5% of it in 0')])
def test_a_case_is_faster_or_slower_where_the_difference_is_above_5_per_cent(ratio, text):
    case = dict(inputs='', phases=dict(all=phase(None, ours=ratio, theirs=1.)))
    assert text in report.summary_table(dict(a_case=case))


def test_page_says_which_commit_each_file_was_measured_at(results):
    files = {name: dict(results, environment=dict(ENVIRONMENT, commit=commit)) for name, commit in
             dict(a='0123abc', b='0123abc-dirty', c=None, d='0123abc').items()}
    assert ('\nCommit 0123abc: a, d. Commit 0123abc with changes that were not committed: b. '
            'Unknown commit: c.\n') in report.readme(files)


def test_machines_have_tables_of_their_own(results):
    other = dict(environment=dict(ENVIRONMENT, device='some GPU'), cases=results['cases'])
    page = report.readme(dict(a_cpu=results, a_cuda=other)).split('## All numbers')[0]
    assert page.count('| a_loss (') == page.count('\n## some ') == page.count('Of 2 cases') == 2


@pytest.fixture
def drawn(results, monkeypatch, tmp_path):
    """The figure of the results, as matplotlib has it when it is saved."""
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure, 'savefig', lambda self, path: (figures.append(self), savefig(self, path)))
    path = tmp_path / 'x.png'
    report.draw(results, 'x', str(path))
    assert imread(str(path)).std() > 0.05  # not blank
    return figures[0]


def test_figure_has_a_bar_for_each_run_and_phase_with_its_ratio(drawn):
    loss, step = drawn.axes
    assert [bar.get_width() for bar in loss.patches] == pytest.approx([2, 4, 20, 10])
    assert [text.get_text() for text in loss.texts][:4] == [
        '2.00 ms', '4.00 ms (0.50)', '20.0 ms', '10.0 ms (2.00)']
    assert len(step.patches) == 4


def test_figure_marks_the_floor_where_there_is_one(drawn):
    loss, step = drawn.axes

    def floors(ax):
        return sorted(line.get_xdata()[0] for line in ax.lines
                      if line.get_color() == report.FLOOR)

    assert floors(loss) == pytest.approx([1, 2]) and not floors(step)


def test_figure_has_a_logarithmic_axis_only_where_bars_would_vanish(drawn):
    assert [ax.get_xscale() for ax in drawn.axes] == ['linear', 'log']
    assert drawn.axes[0].get_xlim()[0] == 0


def test_ours_and_baselines_differ_in_lightness_too(drawn):
    def lightness(bar):
        red, green, blue, _ = bar.get_facecolor()
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    forward_ours, forward_theirs, ours, theirs = map(lightness, drawn.axes[0].patches)
    assert forward_ours > ours + 0.2 and forward_theirs > theirs + 0.2
