"""Rows of results: what is kept of each run, as JSON.

A file is a list with one row a line, sorted by name and seed. The entries of a row:

    name         of the config
    seed         null if the log has none
    data         data set and split of the evaluation: 'CamVidDataset val'
    iterations   of the training; null for a test
    minutes      wall time of the training with its validations; null for a test, or where a part
                 of the training is missing
    start        last two parts of load_from: 'other_run/iter_400.pth', or null
    commit       of mmseg_ext, with '-dirty' where files differed from it; null if unknown
    device       model of the CPU or GPU; null if unknown
    threads      null if unknown
    metrics      {name: value} of the last validation or of the test; null is no number (NaN)
    per_class    {column: {class: value}}, such as IoU and Acc; null likewise
    curve        [[iteration, mIoU], ...] of all validations if there were several, else null
"""
import json
from pathlib import Path
from typing import Iterable, List, Tuple

from ..tools import tool_command

TEXT, COUNT, NUMBER, NULL = (str, ), (int, ), (int, float), (type(None), )
ENTRIES = dict(
    name=TEXT, seed=COUNT + NULL, data=TEXT, iterations=COUNT + NULL, minutes=NUMBER + NULL,
    start=TEXT + NULL, commit=TEXT + NULL, device=TEXT + NULL, threads=COUNT + NULL,
    metrics=(dict, ), per_class=(dict, ), curve=(list, ) + NULL)


def read_rows(path: str) -> List[dict]:
    """Read and check a file of rows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else than rows.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist; {_maker()}')
    try:
        rows = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError:
        raise ValueError(f'{path} is no JSON; {_maker()}') from None
    if not isinstance(rows, list):
        raise ValueError(f'{path} must hold a list of rows, but holds a {type(rows).__name__}; '
                         + _maker())
    for row in rows:
        _check_row(row, path)
    return rows


def merge_rows(old: Iterable[dict], new: Iterable[dict]) -> List[dict]:
    """Add rows to others. A row of the same name and seed is replaced.

    Returns:
        list[dict]: Sorted by name and seed.

    Raises:
        ValueError: Two of the new rows have the same name and seed, but differ.
    """
    added = {}
    for row in new:
        if added.setdefault(_key(row), row) != row:
            raise ValueError(f"two runs of {row['name']} have the seed {row['seed']}, but a file "
                             'keeps one row for each name and seed; store one of them')
    rows = {**{_key(row): row for row in old}, **added}
    return [rows[key] for key in sorted(rows)]


def write_rows(path: str, rows: Iterable[dict]) -> None:
    """Write rows, one a line; nothing is written if one is not as described above."""
    rows = list(rows)
    for row in rows:
        _check_row(row, path)
    lines = ',\n'.join(json.dumps(row, allow_nan=False) for row in rows)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f'[\n{lines}\n]\n' if rows else '[]\n', encoding='utf-8')


def _maker() -> str:
    command = tool_command('compare_runs.py', 'WORK_DIR', '--store', 'FILE.json')
    return f'a file of rows is made by {command}'


def _key(row: dict) -> Tuple[str, int]:
    return row['name'], -1 if row['seed'] is None else row['seed']


def _check_row(row: dict, path: str) -> None:
    if not isinstance(row, dict) or list(row) != list(ENTRIES):
        found = list(row) if isinstance(row, dict) else repr(row)
        raise ValueError(f'each row of {path} must have the entries {list(ENTRIES)}, but one has '
                         f'{found}')
    for key, types in ENTRIES.items():
        # type, not isinstance: True is an int to isinstance
        if type(row[key]) not in types:
            raise ValueError(f"{key!r} of {row['name']} in {path} must be "
                             f'{" or ".join(t.__name__ for t in types)}, but is {row[key]!r}')
