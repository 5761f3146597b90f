"""Timing and peak memory of benchmark cases."""
import ctypes
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from .case import Case

#: Seconds that one run is timed in a round, after a call to warm up; at least one call.
ROUND_SECONDS = 0.05
MIN_ROUNDS = 5
#: Bytes, by phase and run; None if unknown.
Peaks = Dict[str, Dict[str, Optional[int]]]


def measure(case: Case, device: str, rounds: int = 20, seconds: float = 20.,
            peaks: Optional[Peaks] = None) -> Dict[str, dict]:
    """Check parity, then time the runs of a case in turn on ``'cpu'`` or ``'cuda'``.

    In each round every run is timed once (A B A B ...), so that a machine that becomes slower slows
    all of them; the floor is measured as one more run. One run in one round is
    ``torch.utils.benchmark.Timer.blocked_autorange`` with all of torch's threads: a call to warm
    up, then calls for 0.05 s, synchronised; their median is the round's value. There are at most
    ``rounds`` of them; after ``seconds`` 5 are enough.

    The floor of a phase is the time of a copy (``Tensor.copy_``, between buffers touched before)
    that reads and writes together the bytes of ``Case.floor_bytes``. Writing is dearer than
    reading, so a kernel that mostly reads can come in below it.

    Gives for each phase ``rounds``, ``floor`` and ``runs``, as
    :mod:`mmseg_ext.benchmarks.results_file` describes. ``peaks``, where they are not given, are
    measured afterwards.
    """
    if case.parity is not None:
        case.parity()
    floors = case.floor_bytes or {}
    phases = {
        phase: _time_phase(runs, device, floors.get(phase), rounds, seconds)
        for phase, runs in _phases(case).items()
    }
    for phase, runs in (peaks or measure_peaks(case, device)).items():
        for name, peak in runs.items():
            phases[phase]['runs'][name]['peak_bytes'] = peak
    return phases


def measure_peaks(case: Case, device: str = 'cpu') -> Peaks:
    """Measure the most memory that each run takes beyond what was in use before it."""
    return {
        phase: {name: _peak_bytes(run, device) for name, run in runs.items()}
        for phase, runs in _phases(case).items()
    }


def _phases(case: Case) -> Dict[str, Dict[str, Callable[[], Any]]]:
    phases = {case.phase: dict(case.runs)}
    if case.gradients_of:
        phases['forward+backward'] = {
            name: partial(_with_backward, run, case.gradients_of)
            for name, run in case.runs.items()
        }
    return phases


def _time_phase(runs: Dict[str, Callable[[], Any]], device: str, floor_bytes: Optional[int],
                rounds: int, seconds: float) -> dict:
    calls = list(runs.values())
    if floor_bytes is not None:
        calls.append(_copy(floor_bytes, device))
    times = _time_in_turn(calls, rounds, seconds)
    low, median, high = (x.tolist() for x in np.percentile(times, [25, 50, 75], axis=0))
    floor = None
    if floor_bytes is not None:
        floor = dict(bytes=floor_bytes, median_s=median[-1], iqr_s=high[-1] - low[-1])
    results = {}
    for i, name in enumerate(runs):
        results[name] = dict(
            median_s=median[i],
            iqr_s=high[i] - low[i],
            ratio=median[0] / median[i],
            times_floor=median[i] / median[-1] if floor else None)
    return dict(rounds=len(times), floor=floor, runs=results)


def _time_in_turn(calls: Sequence[Callable[[], Any]], rounds: int,
                  seconds: float) -> List[List[float]]:
    """Time each call once per round; (rounds, calls) seconds."""
    timers = [
        Timer('call()', globals=dict(call=call), num_threads=torch.get_num_threads())
        for call in calls
    ]
    times = []
    end = time.perf_counter() + seconds
    while len(times) < rounds and (len(times) < MIN_ROUNDS or time.perf_counter() < end):
        times.append([t.blocked_autorange(min_run_time=ROUND_SECONDS).median for t in timers])
    return times


def _with_backward(run: Callable[[], Tensor], leaves: Sequence[Tensor]) -> None:
    torch.autograd.grad(run(), leaves)


def _copy(num_bytes: int, device: str) -> Callable[[], Any]:
    """A copy that reads and writes ``num_bytes`` together."""
    source, target = torch.ones(2, num_bytes // 2, dtype=torch.uint8, device=device)
    return partial(target.copy_, source)


def _peak_bytes(run: Callable[[], Any], device: str) -> Optional[int]:
    run()  # to warm up: what a first call makes for all later ones is not counted
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    try:
        # glibc: give back what earlier calls have freed, else it hides what this one takes.
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        # Linux: sets the high-water mark of resident memory back to what is resident now.
        with open('/proc/self/clear_refs', 'w') as f:
            f.write('5')
        before = _status_bytes('VmRSS')
        run()
        return max(0, _status_bytes('VmHWM') - before)
    except (OSError, AttributeError):
        return None


def _status_bytes(key: str) -> int:
    with open('/proc/self/status') as f:
        for line in f:
            if line.startswith(f'{key}:'):
                return int(line.split()[1]) * 1024
    raise OSError(f'/proc/self/status has no {key}')
