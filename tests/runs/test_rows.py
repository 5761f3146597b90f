import json

import pytest

from mmseg_ext.runs.rows import merge_rows, read_rows, write_rows


def row(name='x', seed=0, **entries):
    return dict(
        dict(name=name, seed=seed, data='CamVidDataset val', iterations=400, minutes=3.5,
             start=None, commit='abc', device='A CPU', threads=1,
             metrics={'mIoU': 50.25, 'mF1': None}, per_class={'IoU': {'sky': 90.}}, curve=None),
        **entries)


@pytest.mark.parametrize('rows', [[], [row(), row(seed=1, iterations=None, curve=[[1, 2.]])]])
def test_rows_are_written_one_a_line_and_read_back(tmp_path, rows):
    path = tmp_path / 'new/rows.json'
    write_rows(str(path), rows)
    assert read_rows(str(path)) == rows
    assert sum(line.startswith('{') for line in path.read_text().splitlines()) == len(rows)


def test_rows_are_added_or_replaced_by_name_and_seed_and_sorted():
    old = [row('b', 0), row('a', 10), row('a', 2)]
    new = [row('a', 10, minutes=9.), row('a', None), row('c', 0)]
    assert merge_rows(old, new) == [
        row('a', None), row('a', 2), row('a', 10, minutes=9.), row('b', 0), row('c', 0)]


def test_two_runs_with_one_name_and_seed_are_not_kept_as_one():
    with pytest.raises(ValueError, match='two runs of x have the seed 0, .*; store one of them'):
        merge_rows([], [row(), row(minutes=9.)])
    assert merge_rows([], [row(), row()]) == [row()]  # one run given twice


@pytest.mark.parametrize('content, message', [
    ('{', 'is no JSON; a file of rows is made by .*compare_runs.py WORK_DIR --store FILE.json'),
    ('{}', 'must hold a list of rows, but holds a dict'),
    ('[1]', "must have the entries .'name', 'seed'.*but one has 1"),
    (json.dumps([{'name': 'x'}]), r"but one has \['name'\]"),
    (json.dumps([row(seed=True)]), "'seed' of x in .* must be int or NoneType, but is True"),
    (json.dumps([row(metrics=[])]), "'metrics' of x in .* must be dict")])
def test_another_file_is_refused(tmp_path, content, message):
    (tmp_path / 'rows.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        read_rows(str(tmp_path / 'rows.json'))


def test_a_missing_file_is_refused_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match='compare_runs.py WORK_DIR --store FILE.json'):
        read_rows(str(tmp_path / 'rows.json'))


def test_nothing_is_written_if_a_row_is_wrong(tmp_path):
    path = tmp_path / 'rows.json'
    with pytest.raises(ValueError, match="'seed' of x"):
        write_rows(str(path), [row(seed='0')])
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_rows(str(path), [row(metrics={'mIoU': float('nan')})])
    assert not path.exists()
