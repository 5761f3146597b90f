"""No op reads or writes memory of others, dies or hangs, whatever arguments it is given.

The calls are made by hostile_calls.py in two processes, 2,000 of each op. That is more than ten
seconds of work (about 35 on one core), the price of reaching what lies behind the first checks: a
single call in a hundred has what a certain check refuses.
"""
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hostile_samples import PUBLIC_ARGUMENTS, RAW_ARGUMENTS, TARGETS

import mmseg_ext.ops as ops

pytestmark = [
    pytest.mark.skipif(not ops.extension_loaded(), reason='the extension is not built'),
    pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is guarded on Linux')]

SCRIPT = Path(__file__).with_name('hostile_calls.py')
CALLS, SEED, PROCESSES = 2000, '0', 2
#: These refuse nothing: a NamedTuple, and a function without arguments.
WITHOUT_CHECKS = ('RegionSet', 'extension_loaded')


def run(folder, names, first=0):
    """Make the calls of some targets, of the first from a number on.

    Returns:
        dict: What became of them; where the process died, the call that killed it is wrong.
    """
    report = folder / f'{names[0]} {first}.json'.replace(' ', '_')
    # memory that is given back, or given out, holds no zeros; the heap is checked where glibc can
    memory = dict(MALLOC_PERTURB_='165', MALLOC_CHECK_='3', LD_PRELOAD='libc_malloc_debug.so.0')
    process = subprocess.run(
        [sys.executable, str(SCRIPT), str(report), SEED, str(first), str(CALLS), *names],
        env={**os.environ, **memory, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True)
    results = json.loads(report.read_text()) if report.is_file() else {}
    if process.returncode:
        number, name = Path(f'{report}.now').read_text().strip().split(' ', 1)
        name = name.strip()
        last_words = (process.stderr.strip() or 'nothing').splitlines()[-1]
        death = [int(number), f'the process ended with {process.returncode}, saying {last_words}']
        results[name] = dict(fine=0, refused=0, wrong=[death])
        rest = names[names.index(name) + 1:]
        if rest:
            results.update(run(folder, rest))
    return results


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """What became of the calls of each target."""
    folder = tmp_path_factory.mktemp('hostile')
    with ThreadPoolExecutor(PROCESSES) as pool:
        parts = pool.map(lambda i: run(folder, TARGETS[i::PROCESSES]), range(PROCESSES))
        return {name: result for part in parts for name, result in part.items()}


def test_every_op_is_called():
    """A new op, public or raw, needs a line in hostile_samples.py that makes its arguments."""
    registered = {name.partition('::')[2] for name in torch._C._dispatch_get_all_op_names()
                  if name.startswith('mmseg_ext::')}
    assert registered == set(RAW_ARGUMENTS)
    assert set(ops.__all__) == set(PUBLIC_ARGUMENTS)


@pytest.mark.parametrize('name', TARGETS)
def test_wrong_arguments_end_in_a_sentence(results, name):
    result = results[name]
    assert not result['wrong'], (
        f"{len(result['wrong'])} of {CALLS} calls; to make the first again:\n{SCRIPT} /tmp/report "
        f"{SEED} {result['wrong'][0][0]} {result['wrong'][0][0] + 1} '{name}'")
    assert result['fine'] + result['refused'] == CALLS
    # neither is all refused by the first check nor is all right
    assert result['fine'] > CALLS / 10
    assert result['refused'] > CALLS / 10 or name in WITHOUT_CHECKS


def test_reading_in_front_of_or_behind_the_arguments_is_noticed():
    """What the other test relies on: there the pages cannot be read."""
    code = """
import ctypes, os, torch
from hostile_calls import GUARDED
for at_end, beside in ((True, 5), (False, -1)):
    x = GUARDED.place(torch.zeros(5), at_end)
    for i, signal in ((0, 0), (4, 0), (beside, 11)):
        child = os.fork()
        if child == 0:
            ctypes.c_float.from_address(x.data_ptr() + 4 * i).value
            os._exit(0)
        assert os.waitpid(child, 0)[1] & 127 == signal, (at_end, i)
"""
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                             env={**os.environ, 'PYTHONPATH': str(SCRIPT.parent)})
    assert process.returncode == 0, process.stderr
