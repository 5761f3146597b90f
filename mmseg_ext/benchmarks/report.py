"""Tables and figures, drawn from the JSON of the results alone."""
from typing import Dict, List, Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..provenance import DIRTY
from .results_file import headline

# Okabe and Ito's blue, and grey: told apart by the colour-blind and in print. The last phase of a
# case is dark, the one before it light.
OURS, OURS_LIGHT = '#0072B2', '#8CC5E3'
BASELINE, BASELINE_LIGHT = '#5F5F5F', '#BDBDBD'
FLOOR = '#D55E00'
#: Above this quotient of the longest and the shortest bar the axis is logarithmic.
LOG_FROM = 100
#: Two times that differ by less than this part of one another are called equal.
EQUAL = 0.05
BAR_INCHES, PANEL_INCHES = 0.19, 0.95
LONG_NAME = 40  # letters that are wider than the bars


def format_seconds(seconds: float) -> str:
    """Write a time with three digits and its unit."""
    factor, unit = _unit(seconds)
    value = seconds * factor
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f'{value:.{decimals}f} {unit}'


def format_factor(factor: float) -> str:
    """Write how many times longer one time is than another, with two digits at least."""
    if factor < 0.0995:
        return f'{factor:.2g}'
    return f'{factor:.{0 if factor >= 9.995 else 2}f}'


def format_floors(run: dict) -> str:
    """Write how many floors a run takes; far from the floor, memory does not decide the time."""
    floors = run['times_floor']
    if floors is None:
        return ''
    return '> 100' if floors > 100 else f'{floors:.{1 if floors < 9.95 else 0}f}'


def format_memory(run: Optional[dict]) -> str:
    """Write the extra memory of a run; empty where it is unknown."""
    if run is None or run['peak_bytes'] is None:
        return ''
    return f'{run["peak_bytes"] / 2**20:.0f} MiB'


def case_table(name: str, case: dict) -> str:
    """Write the results of a case as Markdown: heading, inputs and a table for each phase."""
    lines = [f'### {name}', '', case['inputs'], '']
    for phase_name, phase in case['phases'].items():
        lines += [
            f'| {phase_name} | median | IQR | ours / this | times the floor | extra memory |',
            '|---|---|---|---|---|---|'
        ]
        for run_name, run in phase['runs'].items():
            lines.append(f'| {run_name} | {format_seconds(run["median_s"])} '
                         f'| {format_seconds(run["iqr_s"])} | {format_factor(run["ratio"])} '
                         f'| {format_floors(run)} | {format_memory(run)} |')
        floor = phase['floor']
        if floor is not None:
            lines.append(f'| *floor: {floor["bytes"] / 1e6:.1f} MB to move* '
                         f'| {format_seconds(floor["median_s"])} '
                         f'| {format_seconds(floor["iqr_s"])} | | 1 | |')
        lines.append('')
    return '\n'.join(lines)


def summary_table(cases: Dict[str, dict]) -> str:
    """Write as Markdown how many cases are faster, then one row a case.

    The row has ours beside the fastest baseline.
    """
    rows, ratios = [], []
    for name, case in cases.items():
        line = headline(case)
        baseline, ratio = '', ''
        if line.baseline_run is not None:
            ratios.append(line.baseline_run['ratio'])
            baseline = f'{format_seconds(line.baseline_run["median_s"])}, {line.baseline}'
            ratio = format_factor(ratios[-1])
        rows.append(f'| {name} ({line.phase}) | {format_seconds(line.run["median_s"])} '
                    f'| {baseline} | {ratio} | {format_floors(line.run)} '
                    f'| {format_memory(line.run)} | {format_memory(line.baseline_run)} |')
    faster, slower = sum(r < 1 - EQUAL for r in ratios), sum(r > 1 + EQUAL for r in ratios)
    return '\n'.join([
        f'Of {len(ratios)} cases ours is faster than the fastest baseline in {faster}, slower in '
        f'{slower}, and within {EQUAL:.0%} of it in {len(ratios) - faster - slower}.', '',
        '| case | ours | fastest baseline | ours / baseline | times the floor | memory, ours '
        '| memory, baseline |', '|---|---|---|---|---|---|---|', *rows])


def readme(all_results: Dict[str, dict]) -> str:
    """Write the page of all results: for each machine one row a case, then all numbers, folded.

    The results are given by the names of their files without ending.
    """
    lines = [
        '# Benchmark results', '',
        'All runs of a case are timed in turn in one process. Times are medians over the rounds.',
        'A ratio below 1: ours is faster. Cases of training steps, drawing and data sets compare',
        'different work, as the names of their runs say. The floor is the time of a copy that',
        'moves the bytes which every program has to read and write. Memory is the peak of a call',
        'above what was in use before it, on a CPU in a process that keeps nothing freed; commits',
        'before 06cfb25 measured it in the process that was timed, which reads more or less than',
        'is in use. `tools/benchmark_report.py` writes this page from the JSON files beside it;',
        '`make benchmark` measures anew.', ''
    ]
    machines: Dict[str, Dict[str, dict]] = {}
    for name, results in all_results.items():
        machine = _caption(results['environment'], has_commit=False)
        machines.setdefault(machine, {})[name] = results
    for machine, group in machines.items():
        cases = {name: case for results in group.values()
                 for name, case in results['cases'].items()}
        lines += [f'## {machine}', '', _commits(group), '', summary_table(cases), '']
    lines += ['## All numbers', '', 'With the inter-quartile range (IQR) over the rounds.', '']
    for name, results in all_results.items():
        lines += [f'<details><summary>{name}: {len(results["cases"])} cases</summary>', '',
                  _caption(results['environment']), '', f'![{name}]({name}.png)', '']
        lines += [case_table(*item) for item in results['cases'].items()]
        lines += ['</details>', '']
    return '\n'.join(lines)


def draw(results: dict, title: str, path: str) -> None:
    """Draw a panel of horizontal bars for each case into a file."""
    cases = list(results['cases'].items())
    num_columns = 1 if len(cases) == 1 else 2
    rows = [cases[i:i + num_columns] for i in range(0, len(cases), num_columns)]
    heights = [max(PANEL_INCHES + BAR_INCHES * _num_bars(case) for _, case in row) for row in rows]
    figure = Figure(figsize=(7.2 * num_columns, 1. + sum(heights)), dpi=110, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.15)
    panels = figure.subplots(len(rows), num_columns, squeeze=False, height_ratios=heights)
    for axes, row in zip(panels, rows):
        for ax in axes[len(row):]:
            ax.remove()
        num_bars = max(_num_bars(case) for _, case in row)
        for ax, (name, case) in zip(axes, row):
            _draw_case(ax, name, case, num_bars)
    figure.suptitle(f'{title}\n', fontsize=13, fontweight='bold')
    figure.text(0.5, 1 - 0.36 / figure.get_figheight(), _caption(results['environment']),
                ha='center', va='top', fontsize=8.5)
    figure.legend(
        handles=_legend(results), loc='outside lower center', ncols=4, fontsize=8.5, frameon=False,
        title='behind each bar: median (first run / this run; below 1, the first is faster)',
        title_fontsize=8.5)
    figure.savefig(path)


def _draw_case(ax: Axes, name: str, case: dict, num_bars: int) -> None:
    """Draw a panel with room for ``num_bars``, so that all bars of a row are equally thick."""
    phases = list(case['phases'].items())
    runs = list(phases[0][1]['runs'])
    medians = [run['median_s'] for _, phase in phases for run in phase['runs'].values()]
    factor, unit = _unit(max(medians))
    thickness = 0.8 / len(phases)
    for p, (_, phase) in enumerate(phases):
        light = p < len(phases) - 1
        for i, run_name in enumerate(runs):
            run = phase['runs'][run_name]
            y = i + (p - (len(phases) - 1) / 2) * thickness
            value = run['median_s'] * factor
            ax.barh(y, value, thickness * 0.92, color=_colour(run_name, light),
                    xerr=run['iqr_s'] * factor / 2, error_kw=dict(lw=0.8, ecolor='black'))
            text = format_seconds(run['median_s']) + (f' ({run["ratio"]:.2f})' if i else '')
            ax.annotate(text, (value + run['iqr_s'] * factor / 2, y), (4, 0),
                        textcoords='offset points', va='center', fontsize=7.5,
                        fontweight='bold' if run_name.startswith('ours') else 'normal')
        if phase['floor'] is not None:
            ax.axvline(phase['floor']['median_s'] * factor, color=FLOOR, lw=1.2,
                       ls=':' if light else '--', zorder=3)
    low, high = min(medians) * factor, max(medians) * factor
    if high / low > LOG_FROM:
        ax.set_xscale('log')
        ax.set_xlim(low / 3, high * (high / low)**0.35)
    else:
        ax.set_xlim(0, high * 1.3)
    ax.set_yticks(range(len(runs)), runs, fontsize=8)
    ax.set_ylim(num_bars / len(phases) - 0.5, -0.5)
    ax.tick_params(axis='x', labelsize=8)
    names = ', light: '.join(phase_name for phase_name, _ in reversed(phases))
    ax.set_xlabel(f'{unit} ({names})', fontsize=8, labelpad=1)
    # a name that is wider than the bars ends where they end, over their labels
    side = 'left' if max(len(name), 0.75 * len(case['inputs'])) < LONG_NAME else 'right'
    ax.set_title(f'{name}\n', fontsize=9.5, loc=side, fontweight='bold')
    ax.annotate(case['inputs'], (float(side == 'right'), 1), (0, 4), xycoords='axes fraction',
                textcoords='offset points', fontsize=7.5, va='bottom', ha=side,
                annotation_clip=False)
    ax.spines[['top', 'right']].set_visible(False)


def _legend(results: dict) -> list:
    """Only what the figure has."""
    handles = [Patch(color=OURS, label='ours'), Patch(color=BASELINE, label='baseline')]
    floors = {}
    for case in results['cases'].values():
        for i, (phase_name, phase) in enumerate(reversed(list(case['phases'].items()))):
            if phase['floor'] is not None:
                floors[phase_name] = Line2D([], [], color=FLOOR, lw=1.2, ls=':' if i else '--',
                                            label=f'floor, {phase_name}')
    return handles + list(floors.values())


def _num_bars(case: dict) -> int:
    return sum(len(phase['runs']) for phase in case['phases'].values())


def _colour(run_name: str, light: bool) -> str:
    if run_name.startswith('ours'):
        return OURS_LIGHT if light else OURS
    return BASELINE_LIGHT if light else BASELINE


def _caption(environment: dict, has_commit: bool = True) -> str:
    kernels = 'compiled' if environment['compiled_extension'] else 'PyTorch fallback'
    commit = f'commit {environment["commit"]}, ' if has_commit else ''
    return (f'{environment["device"]}, {environment["threads"]} threads, {commit}torch '
            f'{environment["torch"]}, CPU kernels: {kernels}')


def _commits(group: Dict[str, dict]) -> str:
    """Which files were measured at which commit, a sentence for each commit."""
    names: Dict[Optional[str], List[str]] = {}
    for name, results in group.items():
        names.setdefault(results['environment']['commit'], []).append(name)
    sentences = []
    for commit, files in names.items():
        if commit is None:
            what = 'Unknown commit'
        elif commit.endswith(DIRTY):
            what = f'Commit {commit[:-len(DIRTY)]} with changes that were not committed'
        else:
            what = f'Commit {commit}'
        sentences.append(f'{what}: {", ".join(files)}.')
    return ' '.join(sentences)


def _unit(seconds: float):
    if seconds >= 1:
        return 1, 's'
    return (1e3, 'ms') if seconds >= 1e-3 else (1e6, 'µs')
