import time

import pytest
import torch

from mmseg_ext.benchmarks import Case, measure


def test_slow_and_large_baselines_show_in_the_numbers():
    keep = []
    case = Case((), '', dict(
        ours=lambda: time.sleep(0.01),
        slow=lambda: time.sleep(0.1),
        large=lambda: keep.append(torch.ones(2**24).sum())))
    results = measure(case, 'cpu', repeats=3)
    assert results['ours']['ratio'] == 1
    assert results['slow']['ratio'] < 0.6
    assert results['large']['peak_bytes'] > 0.9 * 2**26
    assert results['ours']['peak_bytes'] < 2**24


def test_parity_is_checked_before_the_clock_starts():
    calls = []

    def parity():
        raise AssertionError('not the same')

    with pytest.raises(AssertionError, match='not the same'):
        measure(Case((), '', dict(ours=lambda: calls.append(1)), parity), 'cpu')
    assert not calls


def test_memory_that_an_earlier_run_freed_does_not_hide_what_a_run_takes():
    # Blocks below 32 MiB, the largest that glibc keeps for later.
    case = Case((), '', dict(ours=lambda: [torch.ones(2**20) for _ in range(64)]))
    assert measure(case, 'cpu', repeats=3)['ours']['peak_bytes'] > 0.9 * 64 * 2**22
