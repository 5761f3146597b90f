import time

import pytest
import torch

from mmseg_ext.benchmarks import Case
from mmseg_ext.benchmarks import measure as measure_case
from mmseg_ext.benchmarks.measure import _copy


def measure(case, **kwargs):
    return measure_case(case, 'cpu', **{'rounds': 3, **kwargs})


def test_slow_and_large_baselines_show_in_the_numbers():
    keep = []
    case = Case('', dict(
        ours=lambda: time.sleep(0.01),
        slow=lambda: time.sleep(0.1),
        large=lambda: keep.append(torch.ones(2**24).sum())))
    results = measure(case)['forward']['runs']
    assert results['ours']['ratio'] == 1
    assert results['slow']['ratio'] < 0.6
    assert results['large']['peak_bytes'] > 0.9 * 2**26
    assert results['ours']['peak_bytes'] < 2**24


def test_parity_is_checked_before_the_clock_starts():
    calls = []

    def parity():
        raise AssertionError('not the same')

    with pytest.raises(AssertionError, match='not the same'):
        measure(Case('', dict(ours=lambda: calls.append(1)), parity=parity))
    assert not calls


def test_memory_that_an_earlier_run_freed_does_not_hide_what_a_run_takes():
    # Blocks below 32 MiB, the largest that glibc keeps for later.
    case = Case('', dict(ours=lambda: [torch.ones(2**20) for _ in range(64)]))
    results = measure(case)['forward']['runs']
    assert results['ours']['peak_bytes'] > 0.9 * 64 * 2**22


def test_runs_alternate_so_that_a_change_of_the_machine_meets_all_of_them():
    order = []

    def run(name):
        order.append(name)
        time.sleep(0.06)  # longer than a round needs, so a round is a call to warm up and one more

    measure(Case('', dict(ours=lambda: run('a'), other=lambda: run('b'))))
    assert ''.join(order[:12]) == 'aabb' * 3


def test_a_case_with_gradients_has_a_second_phase_that_includes_the_backward():
    x = torch.ones(3, requires_grad=True)
    backwards = []

    class Slow(torch.autograd.Function):

        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, gradient):
            backwards.append(1)
            time.sleep(0.02)
            return gradient.expand(3)

    phases = measure(Case('', dict(ours=lambda: Slow.apply(x)), gradients_of=(x, )), rounds=1)
    assert list(phases) == ['forward', 'forward+backward']
    assert phases['forward']['runs']['ours']['median_s'] < 0.02
    assert phases['forward+backward']['runs']['ours']['median_s'] >= 0.02
    assert backwards and x.grad is None


def test_the_floor_is_the_time_of_a_copy_that_reads_and_writes_the_bytes_together():
    half = torch.ones(2**24, dtype=torch.uint8)
    target = torch.ones_like(half)
    case = Case(
        '', dict(ours=lambda: target.copy_(half), nothing=lambda: None), phase='copy',
        floor_bytes=dict(copy=2**25))
    phase = measure(case, rounds=15)['copy']
    assert phase['floor']['bytes'] == 2**25
    assert 0.4 < phase['runs']['ours']['times_floor'] < 2.5
    assert phase['runs']['nothing']['times_floor'] < 0.1


def test_the_copy_of_the_floor_moves_the_stated_bytes():
    copy = _copy(1000, 'cpu')
    assert copy.args[0].nbytes + copy.func.__self__.nbytes == 1000


def test_rounds_end_after_the_time_but_not_before_there_are_enough_for_quartiles():
    case = Case('', dict(ours=lambda: None))
    assert measure(case, rounds=20, seconds=0)['forward']['rounds'] == 5
    assert measure(case, rounds=7, seconds=100)['forward']['rounds'] == 7
