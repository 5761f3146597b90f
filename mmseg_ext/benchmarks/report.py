"""Tables and figures, drawn from the JSON of the results alone."""
from typing import Dict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

# Okabe and Ito's blue, and grey: told apart by the colour-blind and in print. The last phase of a
# case is dark, the one before it light.
OURS, OURS_LIGHT = '#0072B2', '#8CC5E3'
BASELINE, BASELINE_LIGHT = '#5F5F5F', '#BDBDBD'
FLOOR = '#D55E00'
#: Above this quotient of the longest and the shortest bar the axis is logarithmic.
LOG_FROM = 100
BAR_INCHES, PANEL_INCHES = 0.19, 0.95


def format_seconds(seconds: float) -> str:
    """Write a time with three digits and its unit."""
    factor, unit = _unit(seconds)
    value = seconds * factor
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f'{value:.{decimals}f} {unit}'


def case_table(name: str, case: dict) -> str:
    """Write the results of a case as Markdown.

    Args:
        name (str): Name of the case.
        case (dict): An entry of ``cases`` (:mod:`mmseg_ext.benchmarks.results_file`).

    Returns:
        str: Heading, inputs and a table for each phase.
    """
    lines = [f'### {name}', '', case['inputs'], '']
    for phase_name, phase in case['phases'].items():
        lines += [
            f'| {phase_name} | median | IQR | ours / this | times the floor | extra memory |',
            '|---|---|---|---|---|---|'
        ]
        for run_name, run in phase['runs'].items():
            times_floor = '' if run['times_floor'] is None else f'{run["times_floor"]:.2f}'
            peak = '' if run['peak_bytes'] is None else f'{run["peak_bytes"] / 2**20:.0f} MiB'
            lines.append(f'| {run_name} | {format_seconds(run["median_s"])} '
                         f'| {format_seconds(run["iqr_s"])} | {run["ratio"]:.2f} '
                         f'| {times_floor} | {peak} |')
        floor = phase['floor']
        if floor is not None:
            lines.append(f'| *floor: {floor["bytes"] / 1e6:.1f} MB to move* '
                         f'| {format_seconds(floor["median_s"])} '
                         f'| {format_seconds(floor["iqr_s"])} | | 1 | |')
        lines.append('')
    return '\n'.join(lines)


def readme(all_results: Dict[str, dict]) -> str:
    """Write the page of all results.

    Args:
        all_results (dict[str, dict]): Content of each results file, by its name without ending.

    Returns:
        str: Markdown.
    """
    lines = [
        '# Benchmark results', '',
        'Written by `tools/benchmark_report.py` from the JSON files beside it; `make benchmark`',
        'measures anew. All runs of a case are timed in turn in one process. Median and',
        'inter-quartile range (IQR) are over the rounds. *Ours / this* below 1: ours is faster.',
        'The floor is a copy of as many bytes as must be read or written in any case. Extra memory',
        'is the peak of a call above what was in use before it.', ''
    ]
    for name, results in all_results.items():
        lines += [f'## {name}', '', _caption(results['environment']), '',
                  f'![{name}]({name}.png)', '']
        lines += [case_table(*item) for item in results['cases'].items()]
    return '\n'.join(lines)


def draw(results: dict, title: str, path: str) -> None:
    """Draw a panel of horizontal bars for each case.

    Args:
        results (dict): Content of a results file.
        title (str): What the figure is called.
        path (str): Where to write it, with the ending that matplotlib writes.
    """
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
    ax.set_title(f'{name}\n', fontsize=9.5, loc='left', fontweight='bold')
    ax.annotate(case['inputs'], (0, 1), (0, 4), xycoords='axes fraction',
                textcoords='offset points', fontsize=7.5, va='bottom', annotation_clip=False)
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


def _caption(environment: dict) -> str:
    kernels = 'compiled' if environment['compiled_extension'] else 'PyTorch fallback'
    return (f'{environment["device"]}, {environment["threads"]} threads, commit '
            f'{environment["commit"]}, torch {environment["torch"]}, CPU kernels: {kernels}')


def _unit(seconds: float):
    if seconds >= 1:
        return 1, 's'
    return (1e3, 'ms') if seconds >= 1e-3 else (1e6, 'µs')
