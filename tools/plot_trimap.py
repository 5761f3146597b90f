"""Draw mIoU over the width of the band around boundaries, from results of TrimapMetric.

    python tools/plot_trimap.py CE=work_dirs/ce/TIME/TIME.json \\
        SEMEDA=work_dirs/semeda/TIME/TIME.json --out trimap.png

One line for each model, pixels in the band and outside of it as two panels (Fig. 5 of the SEMEDA
paper). Files of one name, such as those of three seeds, become their mean, with a band from the
lowest to the highest of them. A file is what tools/test.py writes, WORK_DIR/TIME/TIME.json, or the
WORK_DIR/TIME/vis_data/scalars.json of a training, of which the last validation counts.
"""
import argparse
import json
import os
import os.path as osp
import re
import sys
from typing import Dict, List, Optional, Tuple

import numpy as np
from matplotlib.figure import Figure

#: What TrimapMetric calls its results, after prefixes that a config may add.
METRIC = re.compile(r'(?P<prefix>.*/)?(?P<part>trimap|outside)(?P<width>\d+)_mIoU')
PANELS = {'trimap': 'within the band', 'outside': 'outside of the band'}
# Okabe and Ito's colours: told apart by the colour-blind. There is one marker more than colours, so
# that no pair of both comes again among the first 56 models.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#000000', '#E69F00', '#56B4E9')
MARKERS = 'osD^vP*X'
LEGEND_LETTERS = 110  # that go beside each other
MOST_TICKS = 12

Curves = Dict[str, Dict[int, float]]  # mIoU in per cent by part and width


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.

    Returns:
        argparse.Namespace: The values; ``results`` are the paths of each name.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pairs', nargs='+', metavar='NAME=FILE.json',
                        help='what the legend calls a model, and its results; several files may '
                        'have one name')
    parser.add_argument('--out', required=True, metavar='FILE.png', help='figure to write')
    args = parser.parse_args(argv)
    args.results = {}
    for pair in args.pairs:
        name, _, path = pair.partition('=')
        if not name or not path:
            parser.error(f'results are given as NAME=FILE.json, got {pair}')
        args.results.setdefault(name, []).append(path)
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if osp.splitext(args.out)[1][1:].lower() not in formats:
        parser.error(f"--out must end in one of {', '.join(formats)}, got {args.out}")
    return args


def read_curves(path: str) -> Curves:
    """Read the results of one test or of a training's last validation.

    Args:
        path (str): A file with one JSON object, or with one on each line.

    Returns:
        dict[str, dict[int, float]]: mIoU in per cent for each width in pixels, ``'trimap'`` in
        the band, ``'outside'`` of it.
    """
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            lines = [line for line in file if line.strip()]
    except OSError as error:
        sys.exit(f'error: {path} cannot be read ({error.strerror}); tools/test.py writes '
                 'WORK_DIR/TIME/TIME.json, tools/train.py WORK_DIR/TIME/vis_data/scalars.json')
    for number, line in reversed(list(enumerate(lines, start=1))):
        try:
            curves, prefixes = _select(json.loads(line))
        except (ValueError, AttributeError):
            sys.exit(f'error: {path} is no file of results: each line must be a JSON object, but '
                     f'line {number} is not')
        if len(prefixes) > 1:
            sys.exit(f"error: {path} has the results of {len(prefixes)} trimap metrics ("
                     f"{', '.join(sorted(prefixes))}); test with one of them at a time")
        if curves['trimap']:
            return curves
    sys.exit(f"error: {path} has no trimap metrics; add dict(type='TrimapMetric', "
             "widths=range(11)) to the list test_evaluator of the config and test again with "
             'tools/test.py')


def combine(name: str, runs: List[Curves]) -> Dict[str, np.ndarray]:
    """Put the runs of a model together.

    Args:
        name (str): The model.
        runs (list[dict]): Its curves from :func:`read_curves`.

    Returns:
        dict[str, np.ndarray]: For each part rows of width, mean, lowest and highest, (W, 4).
    """
    if len({tuple(sorted(run['trimap'])) for run in runs}) > 1:
        sys.exit(f'error: the files of {name} have different widths; test all with the same widths '
                 'of TrimapMetric')
    combined = {}
    for part in PANELS:
        widths = sorted(runs[0][part])
        values = np.array([[run[part][width] for width in widths] for run in runs])
        combined[part] = np.stack(
            [widths, values.mean(axis=0), values.min(axis=0), values.max(axis=0)], axis=1)
    return combined


def draw(results: Dict[str, List[Curves]]) -> Figure:
    """Draw the curves of all models.

    Args:
        results (dict[str, list[dict]]): The runs of each model, by its name.

    Returns:
        Figure: Two panels.
    """
    figure = Figure(figsize=(10, 4.6), dpi=120, layout='constrained')
    panels = figure.subplots(1, 2)
    widths = {width for runs in results.values() for run in runs for width in run['trimap']}
    for i, (name, runs) in enumerate(results.items()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        label = name if len(runs) == 1 else f'{name} ({len(runs)} runs)'
        curves = combine(name, runs)
        for ax, part in zip(panels, PANELS):
            width, mean, low, high = curves[part].T
            ax.plot(width, mean, color=colour, marker=marker, markersize=5, label=label)
            if len(runs) > 1:
                ax.fill_between(width, low, high, color=colour, alpha=0.18, linewidth=0)
    for ax, title in zip(panels, PANELS.values()):
        ax.set_title(title, loc='left', fontweight='bold')
        ax.set_xlabel('largest distance to a boundary (pixels)')
        ax.set_ylabel('mIoU (%)')
        if len(widths) <= MOST_TICKS:
            ax.set_xticks(sorted(widths))
        ax.grid(color='#DDDDDD', linewidth=0.8)
        ax.spines[['top', 'right']].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    has_runs = any(len(runs) > 1 for runs in results.values())
    figure.legend(handles, labels, loc='outside lower center', frameon=False,
                  ncols=max(1, LEGEND_LETTERS // (max(map(len, labels)) + 8)),  # 8: line, marker
                  title='line: mean of the runs; shaded: lowest to highest' if has_runs else None)
    return figure


def main(argv: Optional[List[str]] = None) -> None:
    """Draw the figure.

    Args:
        argv (list[str], optional): Arguments. Defaults to the command line.
    """
    args = parse_args(argv)
    results = {name: [read_curves(path) for path in paths]
               for name, paths in args.results.items()}
    figure = draw(results)
    os.makedirs(osp.dirname(args.out) or '.', exist_ok=True)
    figure.savefig(args.out)
    print(f'The curves are in {args.out}')


def _select(metrics: dict) -> Tuple[Curves, List[str]]:
    """The mIoU values among all results, and the prefixes of their names."""
    curves, prefixes = {part: {} for part in PANELS}, set()
    for name, value in metrics.items():
        match = METRIC.fullmatch(name)
        if match:
            curves[match['part']][int(match['width'])] = value
            prefixes.add(match['prefix'] or 'no prefix')
    return curves, sorted(prefixes)


if __name__ == '__main__':
    main()
