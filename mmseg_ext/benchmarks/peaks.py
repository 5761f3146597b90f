"""Peak memory of benchmark cases, in a process that gives back at once what is freed.

glibc keeps freed blocks for later, and how much of them a call finds there depends on all that the
process did before: the same call then reads 7 or 13 MiB. Where blocks are mapped one by one,
resident memory is what is in use. Time is not measured so: each mapping costs page faults.
"""
import json
import os
import subprocess
import sys
from typing import Dict, List, Sequence

from mmengine.registry import DefaultScope

from mmseg_ext.registry import BENCHMARKS

from .measure import Peaks, measure_peaks

#: Bytes from which glibc maps a block, see mallopt(3).
ENVIRONMENT = dict(MALLOC_MMAP_THRESHOLD_=str(2**16))


def peaks_in_own_process(names: Sequence[str], small: bool = False) -> Dict[str, Peaks]:
    """Measure the peak memory of cases on the CPU, in a new process.

    Args:
        names (Sequence[str]): Registered cases.
        small (bool): As for a case. Defaults to False.

    Returns:
        dict[str, Peaks]: Of each case.

    Raises:
        subprocess.CalledProcessError: If the process fails; it has printed why.
    """
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-m', __name__, json.dumps([list(names), small])],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: List[str]) -> None:
    """Print the peaks of the cases that are asked for, as JSON in the last line."""
    names, small = json.loads(arguments[0])
    with DefaultScope.overwrite_default_scope('mmseg'):
        peaks = {name: measure_peaks(BENCHMARKS.get(name)('cpu', small=small)) for name in names}
    print(json.dumps(peaks))


if __name__ == '__main__':
    main(sys.argv[1:])
