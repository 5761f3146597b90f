"""Peak memory in a process of its own."""
import json
import os
import subprocess
import sys

from mmseg_ext.benchmarks.peaks import ENVIRONMENT, peaks_in_own_process

MIB = 2**20

# Each block is freed before the next, larger one; the small one behind it keeps them apart, so that
# a process that keeps what is freed needs 210 MiB where 20 are in use.
GROWING = """
import json, torch
from mmseg_ext.benchmarks.case import Case
from mmseg_ext.benchmarks.measure import measure_peaks
def grow():
    apart = []
    for size in range(1, 21):
        block = torch.ones(size * 2**20, dtype=torch.uint8)
        apart.append(torch.ones(2**10))
        del block
torch.empty(2**25, dtype=torch.uint8)  # freed: glibc now takes blocks of this size from its heap
print(json.dumps(measure_peaks(Case('', dict(ours=grow)))))
"""


def test_what_was_freed_is_not_counted():
    done = subprocess.run([sys.executable, '-c', GROWING], env={**os.environ, **ENVIRONMENT},
                          stdout=subprocess.PIPE, check=True)
    peak = json.loads(done.stdout.splitlines()[-1])['forward']['ours']
    assert 18 * MIB < peak < 40 * MIB


def test_peaks_of_registered_cases(monkeypatch):
    environments = []

    def run(*args, env, **kwargs):
        environments.append(env)
        return start(*args, env=env, **kwargs)

    start = subprocess.run
    monkeypatch.setattr(subprocess, 'run', run)
    peaks = peaks_in_own_process(['camvid_item', 'score_maps_to_instances'])
    assert environments == [{**os.environ, **ENVIRONMENT}]
    assert list(peaks) == ['camvid_item', 'score_maps_to_instances']
    ours, _, grouping = peaks['score_maps_to_instances']['decoding'].values()
    # the 20 masks; the tensor of differences of 20 centres and all pixels
    assert 20 * 500 * 500 < ours < 20 * 500 * 500 * 8 < grouping
