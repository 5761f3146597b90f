import pytest
import torch

from mmseg_ext.benchmarks import measure
from mmseg_ext.registry import BENCHMARKS


@pytest.fixture(autouse=True)
def one_call_of_each_run(monkeypatch):
    monkeypatch.setitem(measure.__globals__, 'ROUND_SECONDS', 0)
    # more threads only wait for each other at these sizes
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize('name', BENCHMARKS.module_dict)
def test_small_version_of_a_case_agrees_with_its_baselines_and_runs(name):
    case = BENCHMARKS.get(name)('cpu', small=True)
    assert next(iter(case.runs)).startswith('ours')
    assert not all(run.startswith('ours') for run in case.runs), 'there is no baseline'
    phases = measure(case, 'cpu', rounds=1)
    assert set(case.floor_bytes or {}) <= set(phases)
    for phase in phases.values():
        assert list(phase['runs']) == list(case.runs)
