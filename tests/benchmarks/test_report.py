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
    step = {'training step': phase(None, **{'ours: fast': 0.01, 'slow': 20.})}
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
    assert '| ours | 2.00 ms | 200 µs | 1.00 | 2.00 | 3 MiB |' in lines
    assert '| theirs | 4.00 ms | 400 µs | 0.50 | 4.00 | 3 MiB |' in lines
    assert '| theirs | 10.0 ms | 1.00 ms | 2.00 | 5.00 | 3 MiB |' in lines
    assert '| *floor: 8.0 MB to move* | 1.00 ms | 0.00 µs | | 1 | |' in lines


def test_page_says_on_what_the_numbers_were_measured(results):
    page = report.readme(dict(some_cpu=results))
    assert ('some CPU, 2 threads, commit 0123abc, torch 2.0, CPU kernels: PyTorch fallback'
            in page)
    assert '![some_cpu](some_cpu.png)' in page and '### a_loss' in page and '### a_step' in page


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
    assert len(step.patches) == 2


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
