"""Compare two methods by the logs of their runs: paired differences with standard errors.

    python tools/compare_runs.py work_dirs/ce-0 work_dirs/ce-1 -- work_dirs/new-0 work_dirs/new-1
    python tools/compare_runs.py A... -- B... --metrics 'mIoU|mF1' --format markdown
    python tools/compare_runs.py A... -- B... --store rows.json
    python tools/compare_runs.py rows.json:NAME_OF_A -- rows.json:NAME_OF_B

Runs of the baseline A stand before "--", runs of the method B behind it. A run is a work directory
of mmengine, with the logs that tools/train.py or mmseg's own tool wrote. Of a training the last
validation counts; it must have ended, and may have been resumed. Of a folder with tests alone the
last test counts. A folder WORK_DIR/TIME stands for itself alone. Runs with other seeds need a
--work-dir each.

A run of A and a run of B with the same seed are a pair. Where seeds are missing or repeated, the
first of A and the first of B are a pair, and so on. The table has the mean of A, of B and of the
differences B - A, each +- its standard error s / sqrt(n), with n - 1 in s. A difference of less
than two standard errors may be chance; with three pairs, two methods that are equally good differ
by more than that in 18 of 100 comparisons.

--store keeps what was read as rows of JSON, about 1 KB a run, of which the same tables are made
later. A row of the same config and seed is replaced.
"""
import argparse
import re
import sys
from typing import List, Optional

from mmseg_ext.runs.comparison import Line, compare_classes, compare_metrics, pair_runs
from mmseg_ext.runs.rows import merge_rows, read_rows, write_rows
from mmseg_ext.runs.tables import markdown_table, text_table
from mmseg_ext.runs.work_dir import read_run

#: Stands for "--", which argparse would take out.
BETWEEN = '<- A, B ->'


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line; ``a`` and ``b`` are the runs before and behind ``--``."""
    parser = argparse.ArgumentParser(
        usage='%(prog)s A [A ...] -- B [B ...] [options]', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='A -- B',
                        help='work directories, FILE.json or FILE.json:NAME')
    parser.add_argument('--metrics', default='', metavar='REGEX',
                        help='print and keep only metrics in whose names this occurs')
    parser.add_argument('--format', choices=['text', 'markdown'], default='text')
    parser.add_argument('--store', metavar='FILE.json',
                        help='add the runs to this file of rows; without "--", store them only')
    words = sys.argv[1:] if argv is None else argv
    args = parser.parse_intermixed_args([BETWEEN if word == '--' else word for word in words])
    places = [i for i, word in enumerate(args.runs) if word == BETWEEN]
    if len(places) > 1 or not (places or args.store):
        parser.error("write '--' once, between the runs of A and those of B")
    place = places[0] if places else len(args.runs)
    args.a, args.b = args.runs[:place], args.runs[place + 1:]
    if places and not (args.a and args.b):
        parser.error("runs are needed before '--' and behind it")
    try:
        re.compile(args.metrics)
    except re.error as error:
        parser.error(f'--metrics is no regular expression: {error}')
    return args


def rows_of(run: str, pattern: str = '') -> List[dict]:
    """Read the rows that an argument names.

    Args:
        run (str): A work directory, ``FILE.json``, or ``FILE.json:NAME`` for those of one config.
        pattern (str): Regular expression for the names of metrics. Defaults to all.

    Returns:
        list[dict]: One row of a work directory; those of a file.

    Raises:
        ValueError: No run is there, or a file holds several configs and none is named.
    """
    path, name = re.fullmatch(r'(.+?\.json)(?::(.+))?|.*', run).groups()
    if path is None:
        rows = [read_run(run)]
    else:
        all_rows = read_rows(path)
        names = sorted({row['name'] for row in all_rows})
        rows = [row for row in all_rows if name in (None, row['name'])]
        if not rows or len(names) > 1 and name is None:
            raise ValueError(f'{run} must name one config as {path}:NAME; the file has '
                             f"{', '.join(names) or 'no rows'}")
    return [{**row, 'metrics': {key: value for key, value in row['metrics'].items()
                                if re.search(pattern, key)}} for row in rows]


def describe(side: str, rows: List[dict]) -> str:
    """Say in one line what the runs of a side are."""
    said = f'{side}: {len(rows)} x ' + ', '.join(sorted({row['name'] for row in rows}))
    said += '; ' + ', '.join(sorted({row['data'] for row in rows}))
    ends = sorted({row['iterations'] for row in rows if row['iterations'] is not None})
    if ends:
        said += f"; last validation, at iteration {', '.join(map(str, ends))}"
    if any(row['iterations'] is None for row in rows):
        said += '; last test'
    return said


def row_of(line: Line, decimals: int) -> List[str]:
    """Write a line of a comparison as the cells of a row."""
    return [line.name, line.a.text(decimals), line.b.text(decimals),
            line.difference.text(decimals, sign='+'), str(len(line.single)),
            ' '.join(f'{value:+.{decimals}f}' for value in line.single)]


def report(a: List[dict], b: List[dict], markdown: bool = False) -> str:
    """Write the comparison of two lists of rows.

    Raises:
        ValueError: They have no metric in common.
    """
    pairs, said = pair_runs(a, b)
    metrics, more = compare_metrics(pairs)
    classes, about_classes = compare_classes(pairs)
    if not metrics and not classes:
        raise ValueError('there is nothing to compare: no metric is a number in every run. '
                         + ' '.join(more))
    parts = [describe('A', a), describe('B', b), *said, *more, *about_classes]
    parts = ['\n'.join(f'* {part}' if markdown else part for part in parts)]
    tables = {'metric': [row_of(line, line.decimals) for line in metrics]}
    for column, lines in classes.items():
        decimals = min((line.decimals for line in lines), default=2)  # one unit in a column
        tables[f'{column} of class'] = [row_of(line, decimals) for line in lines]
    write = markdown_table if markdown else text_table
    header = ['A', 'B', 'B - A', 'n', 'single differences']
    parts += [write([first, *header], cells) for first, cells in tables.items() if cells]
    return '\n\n'.join(parts)


def main(argv: Optional[List[str]] = None) -> None:
    """Read the runs, keep and compare them."""
    args = parse_args(argv)
    try:
        a, b = ([row for run in side for row in rows_of(run, args.metrics)]
                for side in (args.a, args.b))
        if args.store:
            try:
                old = read_rows(args.store)
            except FileNotFoundError:
                old = []
            write_rows(args.store, merge_rows(old, a + b))
            print(f'{len(a + b)} rows are in {args.store}', file=sys.stderr)
        if b:
            print(report(a, b, args.format == 'markdown'))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from None


if __name__ == '__main__':
    main()
