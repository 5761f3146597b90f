"""The file that benchmark results are kept in: one per family and device, strict JSON.

.. code-block:: none

    environment
        commit              short hash, '-dirty' behind it if files of the checkout differed;
                            null outside git
        device              name of the CPU or GPU
        threads             torch's threads
        os, machine         such as 'Linux', 'x86_64'
        compiled_extension  whether our C++ kernels ran on the CPU (false: the PyTorch fallback)
        python, torch, numpy, mmcv, mmengine, mmseg    versions
    cases: {name of the case:
        covers              names of the plugins and ops that it measures
        inputs              shapes and settings, a sentence
        phases: {'forward', 'forward+backward' or what else the runs do:
            rounds          how often each run was timed, in turn
            floor           null, or
                bytes       what every program has to read and write
                median_s    of a copy that moves as many bytes
                iqr_s
            runs: {name of the run, ours first:
                median_s    seconds of one call, over the rounds
                iqr_s       inter-quartile range, seconds
                ratio       median of ours / this median: below 1, ours is faster
                times_floor this median / median of the floor; null without a floor
                peak_bytes  most memory in use during a call, minus the memory before it;
                            resident on a CPU (see peaks.py), of the allocator on a GPU; null
                            if unknown
"""
import json
import math
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Tuple

from ..tools import tool_command

#: Folder of the results that are part of the package.
RESULTS = Path(__file__).resolve().parent / 'results'

TEXT, COUNT, NUMBER, NULL = (str, ), (int, ), (int, float), (type(None), )
VERSIONS = ('python', 'torch', 'numpy', 'mmcv', 'mmengine', 'mmseg')

ENVIRONMENT = dict(
    commit=TEXT + NULL, device=TEXT, threads=COUNT, os=TEXT, machine=TEXT,
    compiled_extension=(bool, ), **{name: TEXT for name in VERSIONS})
CASE = dict(covers=(list, ), inputs=TEXT, phases=(dict, ))
PHASE = dict(rounds=COUNT, floor=(dict, ) + NULL, runs=(dict, ))
FLOOR = dict(bytes=COUNT, median_s=NUMBER, iqr_s=NUMBER)
RUN = dict(median_s=NUMBER, iqr_s=NUMBER, ratio=NUMBER, times_floor=NUMBER + NULL,
           peak_bytes=COUNT + NULL)


def read_results(path: str) -> dict:
    """Read and check a file; a ValueError says what is not as described above."""
    with open(path, encoding='utf-8') as f:
        try:
            results = json.load(f, parse_constant=_refuse_constant)
            check_results(results)
        except ValueError as error:
            raise ValueError(
                f"{path}: {error} Measure again: {tool_command('benchmark.py')}") from None
    return results


class Headline(NamedTuple):
    """What a case says in one line: ours beside the fastest baseline.

    ``phase`` is its last phase: with the backward pass, where there is one. ``ours`` is the name of
    its first run and ``run`` its numbers; ``baseline`` and ``baseline_run`` those of the fastest
    run that is not ours, whose ``ratio`` compares the two.
    """
    phase: str
    ours: str
    run: dict
    baseline: Optional[str]
    baseline_run: Optional[dict]


def headline(case: dict) -> Headline:
    """Choose what a case, an entry of ``cases``, says in one line."""
    name, phase = list(case['phases'].items())[-1]
    baselines = [item for item in phase['runs'].items() if not item[0].startswith('ours')]
    fastest: Tuple[Optional[str], Optional[dict]] = min(
        baselines, key=lambda item: item[1]['median_s'], default=(None, None))
    return Headline(name, *next(iter(phase['runs'].items())), *fastest)


def write_results(results: dict, path: str) -> None:
    """Check results and write them; nothing is written if they are not as described above."""
    check_results(results)
    text = json.dumps(results, indent=2, allow_nan=False)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'{text}\n')


def check_results(results: dict) -> None:
    """Raise a ValueError unless results are what is described above.

    It names the place, what is there and what is allowed.
    """
    _check_entries(results, 'results', dict(environment=(dict, ), cases=(dict, )))
    _check_entries(results['environment'], 'environment', ENVIRONMENT)
    for name, case in _entries_of(results['cases'], 'cases'):
        _check_entries(case, name, CASE)
        for phase_name, phase in _entries_of(case['phases'], f'{name}.phases'):
            _check_phase(phase, f'{name}.{phase_name}')


def _check_phase(phase: dict, place: str) -> None:
    _check_entries(phase, place, PHASE)
    floor = phase['floor']
    if floor is not None:
        _check_entries(floor, f'{place}.floor', FLOOR)
    ours = None
    for name, run in _entries_of(phase['runs'], f'{place}.runs'):
        run_place = f'{place}.{name}'
        _check_entries(run, run_place, RUN)
        ours = ours or run['median_s']
        _check_quotient(run_place, 'ratio', run['ratio'], ours, run['median_s'])
        if floor is not None:
            _check_quotient(run_place, 'times_floor', run['times_floor'], run['median_s'],
                            floor['median_s'])
        elif run['times_floor'] is not None:
            raise ValueError(f'{run_place} has times_floor, but {place} has no floor.')


def _entries_of(group: Dict[str, Any], place: str):
    if not group:
        raise ValueError(f'{place} is empty.')
    return group.items()


def _check_entries(entry: Any, place: str, allowed: Dict[str, tuple]) -> None:
    if not isinstance(entry, dict) or set(entry) != set(allowed):
        found = sorted(entry) if isinstance(entry, dict) else repr(entry)
        raise ValueError(f'{place} must have the entries {sorted(allowed)}, but has {found}.')
    for key, types in allowed.items():
        value = entry[key]
        # type, not isinstance: True is an int to isinstance
        if type(value) not in types:
            raise ValueError(f'{place}.{key} must be {" or ".join(t.__name__ for t in types)}, '
                             f'but is {value!r}.')
        if type(value) in NUMBER and not (math.isfinite(value) and value >= 0):
            raise ValueError(f'{place}.{key} must be finite and not negative, but is {value!r}.')


def _check_quotient(place: str, key: str, value: Any, above: float, below: float) -> None:
    if below <= 0 or value is None or not math.isclose(value, above / below, rel_tol=1e-6):
        raise ValueError(f'{place}.{key} is {value!r}, but the medians are {above} and {below}.')


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is not JSON.')
