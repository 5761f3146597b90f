"""Write the tables and the figure of configs/claims from the rows of runs that lie beside the page.

    python tools/claims_report.py           # writes them
    python tools/claims_report.py --check   # fails where page, figure or a config are others

The line "# Here:" of each config in the folder is written from its rows, too.

The rows are results/FAMILY.json, as tools/compare_runs.py RUN... --store FILE.json writes them.
claims.json holds {"families": {FAMILY: {...}}, "claims": [{...}, ...]}. A family has

    title       heading of its section
    baselines   names of the configs that the others are compared with, one for each data set,
                start and number of iterations at most
    metrics     columns of its tables; the column "difference" is about the first

and a claim has

    family              one of the families
    claim               what is claimed, in one sentence
    paper               the paper's numbers, and where they stand
    paper_difference    {metric: method - baseline in the paper}, empty where it has none
    data                what was trained and evaluated on, in words
    pairs               [{"baseline": CONFIG, "method": CONFIG, "label": WORDS}, ...]; a label tells
                        several pairs apart
    metrics             names of metrics, or "IoU of pole"; the first decides
    settings            number of settings of the method that were tried
    verdict             a sentence that begins with what the numbers say of the first metric (Holds,
                        Not shown, The opposite, or Mixed where the pairs differ), or null
    note                a sentence more, or null

A difference holds if it is above two standard errors. The tool refuses a verdict that says another
thing than the numbers.
"""
import argparse
import hashlib
import json
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from mmseg_ext.runs.comparison import (
    Estimate,
    Line,
    compare_metric,
    decimals_of,
    pair_runs,
    value_of,
    verdict,
)
from mmseg_ext.runs.rows import merge_rows, read_rows
from mmseg_ext.runs.tables import markdown_table

FOLDER = Path(__file__).resolve().parents[1] / 'configs/claims'
MARK = '<!-- Below: written by tools/claims_report.py. -->\n'
FIGURE = 'differences.png'
FAMILY_ENTRIES = dict(title=str, baselines=list, metrics=list)
PAIR_ENTRIES = dict(baseline=str, method=str, label=str)
CLAIM_ENTRIES = dict(
    family=str, claim=str, paper=str, paper_difference=dict, data=str, pairs=list, metrics=list,
    settings=int, verdict=(str, type(None)), note=(str, type(None)))
CELLS = ['metric', 'paper', 'baseline', 'method', 'difference']  # of a claim's row
WORDS = {'holds': 'holds: > 2 SE', 'the opposite': 'the opposite: > 2 SE'}
# Okabe and Ito's blue and vermilion, and grey: told apart by the colour-blind.
COLOURS = {'holds': '#0072B2', 'not shown': '#5F5F5F', 'the opposite': '#D55E00'}
LABEL_LETTERS = 64  # of a line


class Shown(NamedTuple):
    """A claim, one of its pairs and metrics, and what the rows say.

    Attributes:
        claim (dict): As in the file.
        pair (dict): Likewise.
        metric (str): Its name.
        line (Line, optional): The comparison; None without rows on both sides, or a number in each.
        said (list[str]): What was left out and what is unlike; how the runs were paired, if it is
            not by seed.
        word (str): ``'holds'``, ``'not shown'``, ``'the opposite'``, ``'not run'`` or ``'not
            measured'``.
    """
    claim: dict
    pair: dict
    metric: str
    line: Optional[Line]
    said: List[str]
    word: str

    @property
    def label(self) -> str:
        """The claim and what tells this pair from the others."""
        return ', '.join(filter(None, [self.claim['claim'].rstrip('.'), self.pair.get('label')]))


class Study(NamedTuple):
    """What the files hold: families and claims, the rows of each family, all rows by config."""
    families: Dict[str, dict]
    claims: List[dict]
    rows: Dict[str, List[dict]]
    by_name: Dict[str, List[dict]]


def read_study(folder: Path) -> Study:
    """Read claims.json and the rows.

    Args:
        folder (Path): ``configs/claims``.

    Returns:
        Study: All of it.

    Raises:
        ValueError: An entry is missing or of another kind, or a config is named that is not there.
    """
    data = json.loads((folder / 'claims.json').read_text(encoding='utf-8'))
    families, claims = data['families'], data['claims']
    for name, family in families.items():
        _check_entries(family, FAMILY_ENTRIES, f'family {name}')
    for claim in claims:
        _check_entries(claim, CLAIM_ENTRIES, f"claim {claim.get('claim')!r}")
        if claim['family'] not in families or not claim['pairs'] or not claim['metrics']:
            raise ValueError(f"claim {claim['claim']!r} in claims.json must have a family of "
                             f"{', '.join(families)}, a pair and a metric")
        for pair in claim['pairs']:
            _check_entries(dict(dict(label=''), **pair), PAIR_ENTRIES,
                           f"a pair of {claim['claim']!r}")
    files = {path.stem: path for path in sorted((folder / 'results').glob('*.json'))}
    if files.keys() - families.keys():
        raise ValueError(f"results/{min(files.keys() - families.keys())}.json is of no family in "
                         f"claims.json; the families are {', '.join(families)}")
    rows = {name: read_rows(str(files[name])) if name in files else [] for name in families}
    by_name: Dict[str, List[dict]] = {}
    for row in merge_rows([], (row for family in rows.values() for row in family)):
        by_name.setdefault(row['name'], []).append(row)
    return Study(families, claims, rows, by_name)


def shown_of(study: Study, claim: dict) -> List[Shown]:
    """Compare the pairs of a claim, by pair and metric."""
    found = []
    for pair in claim['pairs']:
        a, b = (study.by_name.get(pair[side], []) for side in ('baseline', 'method'))
        pairs, said = pair_runs(a, b) if a and b else ([], [])
        said = [sentence for sentence in said if not sentence.startswith('Paired by seed')]
        for metric in claim['metrics']:
            line = compare_metric(pairs, metric) if pairs else None
            word = 'not run' if not pairs else 'not measured' if line is None else verdict(
                line.difference)
            found.append(Shown(claim, pair, metric, line, said, word))
    return found


def word_of(claim: dict, shown: List[Shown]) -> str:
    """Say what the numbers show of a claim: the first metric, in all pairs that were run.

    Raises:
        ValueError: The sentence of the claim says another thing.
    """
    words = {one.word for one in shown if one.metric == claim['metrics'][0] and one.line}
    word = words.pop() if len(words) == 1 else 'mixed' if words else 'not run'
    if claim['verdict'] and not claim['verdict'].lower().startswith(word):
        numbers = '; '.join(one.line.difference.text(sign='+') for one in shown if one.line
                            and one.metric == claim['metrics'][0]) or 'no runs'
        raise ValueError(f"the verdict on {claim['claim']!r} in claims.json is "
                         f"{claim['verdict']!r}, but the numbers ({numbers}) say {word!r}; the "
                         f'sentence must begin with {word.capitalize()!r}')
    return word


def summary_table(folder: Path, shown: List[Shown]) -> str:
    """Write the table of all claims: a row for each pair, with the metric that decides."""
    rows = [[one.label, *_cells_of(folder, one), str(len(one.line.single) if one.line else 0),
             str(one.claim['settings']), WORDS.get(one.word, one.word)] for one in shown]
    return markdown_table(['claim', *CELLS, 'pairs', 'settings tried', 'verdict'], rows)


def further_table(folder: Path, shown: List[Shown]) -> str:
    """Write the other metrics of a claim, a row for each pair and metric; '' where it has one."""
    rows, last = [], None
    labels = any('label' in one.pair for one in shown)
    for one in shown:
        if one.metric != one.claim['metrics'][0] and one.word != 'not run':
            label = one.pair.get('label', '')
            rows.append([*['' if label == last else label][:labels], *_cells_of(folder, one),
                         WORDS.get(one.word, one.word)])
            last = label
    return markdown_table([*['pair'][:labels], *CELLS, 'verdict'], rows) if rows else ''


def _cells_of(folder: Path, one: Shown) -> List[str]:
    """Metric, the paper's difference, both sides linked to their configs, and the difference."""
    texts, difference = [one.word, one.word], ''
    if one.line:
        decimals = one.line.decimals
        texts = [one.line.a.text(decimals), one.line.b.text(decimals)]
        difference = one.line.difference.text(decimals, sign='+')
    sides = [config_link(folder, one.pair[side], text)
             for side, text in zip(('baseline', 'method'), texts)]
    paper = one.claim['paper_difference'].get(one.metric)
    return [one.metric, '' if paper is None else f'{paper:+.2f}', *sides, difference]


def claim_text(folder: Path, claim: dict, shown: List[Shown], word: str) -> str:
    """Write a claim: what the paper has, on what it was tried, the verdict, further metrics."""
    tried = f"{claim['settings']} setting{'s' * (claim['settings'] > 1)} tried"
    sentences = [f"**{claim['claim']}** Paper: {claim['paper'].rstrip('.')}. Here: "
                 f"{claim['data'].rstrip('.')}; {tried}.",
                 claim['verdict'] or f'{word.capitalize()}.', claim['note']]
    said = {sentence: f"* {one.pair['method']}: {sentence}" for one in shown
            for sentence in one.said}
    text = '\n'.join([' '.join(filter(None, sentences)), *said.values()])
    return '\n\n'.join(filter(None, [text, further_table(folder, shown)]))


def family_tables(folder: Path, family: dict, rows: List[dict]) -> List[str]:
    """Write the rows of a family: a table for each data set, start and number of iterations."""
    groups: Dict[tuple, Dict[str, List[dict]]] = {}
    for row in rows:
        group = groups.setdefault((row['data'], start_of(row), row['iterations']), {})
        group.setdefault(row['name'], []).append(row)
    parts = []
    in_order = sorted(groups.items(), key=lambda group: group[0][1] or '')
    for (data, start, iterations), by_name in in_order:
        baseline = next((name for name in family['baselines'] if name in by_name), None)
        names = sorted(by_name, key=lambda name: (name != baseline, name))
        table = markdown_table(
            ['config', 'seeds', *family['metrics'], 'difference', 'minutes'],
            [_row_of(folder, family, by_name[name], by_name.get(baseline, []) if name != baseline
                     else []) for name in names])
        end = 'test' if iterations is None else f'validation after {iterations} iterations'
        end += f', from {config_link(folder, start, start)}' if start else ''
        parts += [f'{data}, {end}. {_origin([row for name in names for row in by_name[name]])}',
                  table]
    return parts


def start_of(row: dict) -> Optional[str]:
    """The config of the run that a training started from, by the folder of its checkpoint."""
    return row['start'].split('/')[0] if row['start'] and row['iterations'] is not None else None


def _row_of(folder: Path, family: dict, rows: List[dict], baseline: List[dict]) -> List[str]:
    cells = [config_link(folder, rows[0]['name'], f"`{rows[0]['name']}`"),
             ', '.join('unknown' if row['seed'] is None else str(row['seed']) for row in rows)]
    for metric in family['metrics']:
        values = [value_of(row, metric) for row in rows]
        cells.append('' if None in values else _mean_of(values))
    line = compare_metric(pair_runs(baseline, rows)[0], family['metrics'][0]) if baseline else None
    minutes = [row['minutes'] for row in rows if row['minutes'] is not None]
    return [*cells, line.difference.text(line.decimals, sign='+') if line else '',
            f'{sum(minutes) / len(minutes):.0f}' if minutes else '']


def _mean_of(values: List[float]) -> str:
    mean = Estimate.of(values)
    return mean.text(decimals_of(mean.mean))


def _origin(rows: List[dict]) -> str:
    """Say on what runs ran, and at which commits."""
    said = []
    for key, one, several in (('device', 'Device', 'Devices'), ('threads', 'threads', 'threads'),
                              ('commit', 'commit', 'commits')):
        values = sorted({'unknown' if row[key] is None else str(row[key]) for row in rows})
        said.append(f"{one if len(values) == 1 else several} {', '.join(values)}")
    return '; '.join(said) + '.'


def report(folder: Path) -> Tuple[str, List[Shown]]:
    """Make all of it from the files of a folder.

    Args:
        folder (Path): ``configs/claims``.

    Returns:
        tuple: What stands below the mark of the page, and what the figure has: of each claim the
        first metric, in every pair that was run.

    Raises:
        ValueError: A file holds something wrong, or a verdict contradicts the numbers.
    """
    study = read_study(folder)
    judged = []
    for claim in study.claims:
        shown = shown_of(study, claim)
        judged.append((claim, shown, word_of(claim, shown)))
    flat = [one for _, shown, _ in judged for one in shown]
    deciding = [one for one in flat if one.metric == one.claim['metrics'][0]]
    drawn = [one for one in deciding if one.line]
    parts = [f'![differences of the claims]({FIGURE})'] if drawn else []
    parts.append(summary_table(folder, deciding) if deciding else 'No claims yet.')
    for name, family in study.families.items():
        rows = study.rows[name]
        # a baseline that two families share lies in one file
        rows = rows + [row for baseline in family['baselines']
                       for row in study.by_name.get(baseline, []) if row not in rows]
        parts.append(f"## {family['title']}")
        parts += [claim_text(folder, *one) for one in judged if one[0]['family'] == name]
        parts += family_tables(folder, family, rows) or ['No rows yet.']
    return '\n\n'.join(parts) + '\n', drawn


def here_of(rows: List[dict]) -> str:
    """Say what the runs of a config gave, for its line ``# Here:`` (see tools/config_index.py)."""
    values = [row['metrics'].get('mIoU') for row in rows]
    runs = f"{len(rows)} run{'s' * (len(rows) > 1)} of {rows[0]['iterations']} iterations"
    if None in values:
        return f'run; {runs}'
    return f"{Estimate.of(values).text(1)} mIoU on {rows[0]['data'].split()[-1]}; {runs}"


def headed_configs(folder: Path) -> Dict[Path, str]:
    """Give the configs of a folder, as text, with what the rows say in their lines ``# Here:``."""
    by_name = read_study(folder).by_name
    return {path: re.sub('^# Here: .*$', f'# Here: {here_of(by_name[path.stem])}',
                         path.read_text(encoding='utf-8'), count=1, flags=re.MULTILINE)
            for path in sorted(folder.glob('*.py')) if path.stem in by_name}


def digest_of(drawn: List[Shown]) -> str:
    """Name what a figure shows, so that a figure of other numbers is noticed."""
    values = [[one.label, one.metric, *one.line.difference, len(one.line.single),
               one.claim['paper_difference'].get(one.metric)] for one in drawn]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def draw(drawn: List[Shown]) -> Figure:
    """Draw a dot for each pair below its claim, a bar of two errors, the paper's diamond."""
    labels, dots, y, last = {}, [], 0., None
    for one in drawn:
        n = len(one.line.single)
        what = f"{one.metric}, {n} pair{'s' * (n > 1)}"
        if one.claim is not last:
            heading = textwrap.wrap(one.claim['claim'], LABEL_LETTERS)
            y += (len(heading) + 1) / 2
            labels[y] = '\n'.join(heading)
            y += (len(heading) - 1) / 2
        y, last = y + 1, one.claim
        labels[y] = f"{one.pair['label']} ({what})" if 'label' in one.pair else what
        dots.append((y, one))
    figure = Figure(figsize=(8, 1.2 + 0.2 * y), dpi=100, layout='constrained')
    ax = figure.subplots()
    ax.axvline(0, color='#000000', linewidth=1)
    for y_of_dot, one in dots:
        error = one.line.difference.error
        ax.errorbar(one.line.difference.mean, y_of_dot, xerr=error and 2 * error, fmt='o',
                    markersize=6, capsize=3, color=COLOURS[one.word],
                    markerfacecolor='none' if error is None else COLOURS[one.word])
        paper = one.claim['paper_difference'].get(one.metric)
        if paper is not None:
            ax.plot(paper, y_of_dot, 'D', markersize=6, markerfacecolor='none',
                    markeredgecolor='#000000')
    ax.set_yticks(list(labels), list(labels.values()), fontsize=8)
    in_rows = {y_of_dot for y_of_dot, _ in dots}
    for at, tick in zip(labels, ax.get_yticklabels()):
        tick.set_color('#5F5F5F' if at in in_rows else '#000000')
    ax.tick_params(axis='y', length=0)
    ax.set_ylim(y + 0.5, 0)
    ax.set_xlabel('method - baseline', fontsize=9)
    handles = [Line2D([], [], marker='o', color=colour, label=f'here, +- 2 SE: {word}')
               for word, colour in COLOURS.items()]
    handles += [Line2D([], [], marker=marker, color='none', markerfacecolor='none',
                       markeredgecolor=colour, label=label)
                for marker, colour, label in (('o', COLOURS['not shown'], 'one pair'),
                                              ('D', '#000000', 'paper'))]
    figure.legend(handles=handles, loc='outside lower center', ncols=5, fontsize=8, frameon=False)
    ax.grid(axis='x', color='#DDDDDD', linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[['top', 'right', 'left']].set_visible(False)
    return figure


def config_link(folder: Path, name: str, text: str) -> str:
    """Link a text to a config; a ValueError says that there is no such config."""
    path = next(folder.parent.rglob(f'{name}.py'), None)
    if path is None:
        raise ValueError(f'claims.json or a file of rows names the config {name}, but there is no '
                         f'{name}.py below {folder.parent}')
    return f'[{text}]({Path(os.path.relpath(str(path), str(folder))).as_posix()})'


def _check_entries(entry: dict, allowed: dict, what: str) -> None:
    if entry.keys() != allowed.keys():
        raise ValueError(f'{what} in claims.json must have the entries {list(allowed)}, but has '
                         f'{list(entry)}')
    for key, kinds in allowed.items():
        if not isinstance(entry[key], kinds):
            raise ValueError(f'{key!r} of {what} in claims.json is {entry[key]!r}; '
                             'tools/claims_report.py describes what it may be')


def _digest_in(path: Path) -> Optional[str]:
    if not path.is_file():
        return None
    with Image.open(str(path)) as image:
        return image.info.get('Description')


def main(argv: Optional[List[str]] = None) -> None:
    """Write page and figure or compare them.

    Args:
        argv (list[str], optional): Arguments. Defaults to those of the process.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='compare, write nothing')
    args = parser.parse_args(argv)
    page, figure = FOLDER / 'README.md', FOLDER / FIGURE
    text = page.read_text(encoding='utf-8')
    try:
        tables, drawn = report(FOLDER)
        configs = headed_configs(FOLDER)
    except ValueError as error:
        sys.exit(f'error: {error}')
    new = text.split(MARK)[0] + MARK + '\n' + tables
    other = [path for path, new_text in configs.items()
             if path.read_text(encoding='utf-8') != new_text]
    digest = digest_of(drawn) if drawn else None
    if args.check:
        if new != text or _digest_in(figure) != digest:
            sys.exit('configs/claims/README.md or its figure differs from the rows and '
                     'claims.json; python tools/claims_report.py writes them anew.')
        if other:
            sys.exit(f"The line '# Here:' of {', '.join(path.name for path in other)} differs from "
                     'the rows; python tools/claims_report.py writes it anew.')
        return
    for path in other:
        path.write_text(configs[path], encoding='utf-8')
    page.write_text(new, encoding='utf-8')
    if drawn:
        draw(drawn).savefig(str(figure), metadata={'Description': digest})
    elif figure.is_file():
        figure.unlink()


if __name__ == '__main__':
    main()
