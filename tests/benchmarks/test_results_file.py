import copy
import json
from pathlib import Path

import pytest

import mmseg_ext.benchmarks
from mmseg_ext.benchmarks.results_file import check_results, read_results, write_results
from mmseg_ext.registry import BENCHMARKS

COMMITTED = sorted((Path(mmseg_ext.benchmarks.__file__).parent / 'results').glob('*.json'))
ENVIRONMENT = dict(
    commit='0123abc', device='some CPU', threads=2, os='Linux', machine='x86_64',
    compiled_extension=True, python='3', torch='2', numpy='2', mmcv='2', mmengine='0', mmseg='1')


@pytest.fixture
def results():
    runs = {
        'ours': dict(median_s=0.5, iqr_s=0.01, ratio=1., times_floor=5., peak_bytes=1),
        'plain': dict(median_s=0.25, iqr_s=0, ratio=2., times_floor=2.5, peak_bytes=None),
    }
    phase = dict(rounds=5, floor=dict(bytes=8, median_s=0.1, iqr_s=0.), runs=runs)
    case = dict(covers=['VGG'], inputs='one sentence', phases=dict(forward=phase))
    return dict(environment=dict(ENVIRONMENT), cases=dict(a_case=case))


def test_results_come_back_from_the_file_as_they_were(results, tmp_path):
    path = str(tmp_path / 'x.json')
    write_results(results, path)
    assert read_results(path) == results


# Each names a place by its keys, the value to put there, and what the message must say.
@pytest.mark.parametrize('keys, value, message', [
    ('environment', None, 'results.environment must be dict'),
    ('environment commit', 3, 'environment.commit must be str or NoneType, but is 3'),
    ('environment threads', True, 'environment.threads must be int, but is True'),
    ('environment extra', 'x', "environment must have the entries .*'extra'"),
    ('cases', {}, 'cases is empty'),
    ('cases a_case phases', {}, 'a_case.phases is empty'),
    ('cases a_case phases forward rounds', 5., 'forward.rounds must be int'),
    ('cases a_case phases forward runs ours median_s', float('nan'), 'must be finite'),
    ('cases a_case phases forward runs ours iqr_s', -1., 'not negative'),
    ('cases a_case phases forward runs ours peak_bytes', 'much', 'peak_bytes must be int or Non'),
    ('cases a_case phases forward runs plain ratio', 0.5, 'ratio is 0.5, but the medians are 0.5'),
    ('cases a_case phases forward runs plain times_floor', None, 'times_floor is None, but'),
    ('cases a_case phases forward floor', None, 'ours has times_floor, but .* no floor'),
    ('cases a_case phases forward runs ours median_s', 0., 'medians'),
])
def test_what_the_description_does_not_allow_is_named(results, keys, value, message, tmp_path):
    *path, last = keys.split()
    place = results
    for key in path:
        place = place[key]
    place[last] = value
    with pytest.raises(ValueError, match=message):
        check_results(results)
    with pytest.raises(ValueError, match=message):
        write_results(results, str(tmp_path / 'x.json'))
    assert not (tmp_path / 'x.json').exists()


def test_a_missing_entry_is_named(results):
    broken = copy.deepcopy(results)
    del broken['cases']['a_case']['inputs']
    with pytest.raises(ValueError, match=r"a_case must have .*'inputs'.* but has \['covers', 'ph"):
        check_results(broken)


def test_a_file_with_nan_is_no_json(results, tmp_path):
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(results).replace('0.01', 'NaN'))
    with pytest.raises(ValueError, match='x.json: NaN is not JSON. Measure again'):
        read_results(str(path))


def test_there_are_committed_results():
    assert COMMITTED


@pytest.mark.parametrize('path', COMMITTED, ids=lambda path: path.name)
def test_committed_results_are_of_cases_that_there_are(path):
    for name, case in read_results(str(path))['cases'].items():
        assert list(BENCHMARKS.get(name).covers) == case['covers']
