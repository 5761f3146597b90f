"""Timing and peak memory of benchmark cases."""
import ctypes
import time
from typing import Callable, Dict, List, Optional

import numpy as np
import torch

from .case import Case


def measure(case: Case, device: str, repeats: int = 5, warmup: int = 1) -> Dict[str, dict]:
    """Check parity, then time the runs of a case in turn.

    The runs alternate (A B A B ...), so that a machine that becomes slower slows all of them.

    Args:
        case (Case): What to compare.
        device (str): ``'cpu'`` or ``'cuda'``.
        repeats (int): Timed calls of each run. Defaults to 5.
        warmup (int): Untimed calls of each run before. Defaults to 1.

    Returns:
        dict[str, dict]: For each run ``median_s`` and ``iqr_s`` (seconds), ``ratio`` (of medians,
        ours over this run), and ``peak_bytes``, the memory in use at the peak of a call above
        that before it, None where it cannot be told.
    """
    if case.parity is not None:
        case.parity()
    times: Dict[str, List[float]] = {name: [] for name in case.runs}
    for repeat in range(-warmup, repeats):
        for name, run in case.runs.items():
            seconds = _time(run, device)
            if repeat >= 0:
                times[name].append(seconds)
    ours = np.median(times[next(iter(case.runs))])
    results = {}
    for name, run in case.runs.items():
        low, median, high = np.percentile(times[name], [25, 50, 75])
        results[name] = dict(
            median_s=float(median), iqr_s=float(high - low), ratio=float(ours / median),
            peak_bytes=_peak_bytes(run, device))
    return results


def _time(run: Callable, device: str) -> float:
    _synchronize(device)
    start = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: str) -> None:
    if device == 'cuda':
        torch.cuda.synchronize()


def _peak_bytes(run: Callable, device: str) -> Optional[int]:
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    try:
        # glibc: give back what earlier calls have freed, else it hides what this one takes.
        ctypes.CDLL('libc.so.6').malloc_trim(0)
        # Linux: sets the high-water mark of resident memory back to what is resident now.
        with open('/proc/self/clear_refs', 'w') as f:
            f.write('5')
        before = _status_bytes('VmRSS')
        run()
        return _status_bytes('VmHWM') - before
    except (OSError, AttributeError):
        return None


def _status_bytes(key: str) -> int:
    with open('/proc/self/status') as f:
        for line in f:
            if line.startswith(f'{key}:'):
                return int(line.split()[1]) * 1024
    raise OSError(f'/proc/self/status has no {key}')
