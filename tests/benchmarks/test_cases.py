"""Each case runs at a small size, agrees with its baselines, and times what its names say."""
import functools
import inspect
import re
import sys
from collections import Counter
from pathlib import Path

import mmseg.registry
import pytest
import torch
from mmengine.registry import DefaultScope, Registry
from torch.utils._python_dispatch import TorchDispatchMode

import mmseg_ext
from mmseg_ext import ops
from mmseg_ext.benchmarks import measure
from mmseg_ext.registry import BENCHMARKS

PACKAGE = Path(mmseg_ext.__file__).parent
# every class that a config of mmseg can name, ours and mmseg's
CLASSES = {name: cls for registry in vars(mmseg.registry).values() if isinstance(registry, Registry)
           for name, cls in registry.module_dict.items() if inspect.isclass(cls)}
PLUGINS = {name for name, cls in CLASSES.items() if cls.__module__.startswith('mmseg_ext.')}
OPS = {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}
OPS -= {'extension_loaded'}  # asks about the installation
FILES = {inspect.getfile(CLASSES[name]): name for name in PLUGINS}
CODES = {inspect.unwrap(getattr(ops, name)).__code__: name for name in OPS}
# What of ours the baselines of a case run, by a part of its name, and why that is no cheating.
VGG_AND_LOSS = {'VGG', 'ClassWeightedCrossEntropyLoss'}
SHARED = {
    'lrn_training_step': VGG_AND_LOSS | {'SegNetHead'},  # the decoders are compared, SegNet is ours
    'lrn_prediction': {'VGG', 'LRNHead'},  # one network in two segmentors
    'checkpoint_compatibility_hook': {'VGG'},  # whose weights are loaded
    'region_head_training_step': VGG_AND_LOSS,  # the heads are compared
    'fcn16s_head_training_step': VGG_AND_LOSS,
    # "per pixel, with our gather_max"
    'region_to_pixel_loss': {'region_to_pixel', 'gather_max', 'mmseg_ext::gather_max',
                             'mmseg_ext::gather_max_backward'},
    # given a map of C channels, not of labels, the op convolves
    'semantic_edge_features': {'semantic_edge_features'},
    # the reference of the op, and no kernel
    'semeda_loss': {'semantic_edge_distance', 'semantic_edge_features'},
    # the ground truth of all runs
    'semantic_edge_detector': {'semantic_edges', 'mmseg_ext::semantic_edges'},
    'semantic_edge_net_hook': {'semantic_edges', 'mmseg_ext::semantic_edges'},
    'semantic_edge_metric': {'semantic_edges', 'mmseg_ext::semantic_edges'},
}


@pytest.fixture(autouse=True)
def one_call_of_each_run(monkeypatch):
    monkeypatch.setitem(measure.__globals__, 'ROUND_SECONDS', 0)
    # more threads only wait for each other at these sizes
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@functools.lru_cache(maxsize=None)
def small(name):
    return BENCHMARKS.get(name)('cpu', small=True)


class Kernels(TorchDispatchMode):
    """Records which of our compiled ops are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == 'mmseg_ext':
            self.names.add(func.name())
        return func(*args, **(kwargs or {}))


class Trace:
    """What a run, and its backward pass, calls.

    Attributes:
        ours: Names of our plugins, ops and kernels.
        kinds: Names of the classes whose methods are called, also those that they inherit.
        files: Files of all Python functions.
        calls: How often each Python function is called.
    """

    def __init__(self, run, leaves):
        self.ours, self.kinds, self.files, self.calls = set(), set(), set(), Counter()
        kernels = Kernels()
        before = sys.getprofile()
        sys.setprofile(self._record)
        try:
            with kernels:
                output = run()
                if leaves:
                    torch.autograd.grad(output, leaves)
        finally:
            sys.setprofile(before)
        # a function or static method has no object: a plugin's file tells whose it is
        without_object = {FILES.get(file) for file in self.files} - {None}
        self.ours |= kernels.names | (self.kinds & PLUGINS) | {
            name for name in without_object if not name_of_subclass(name, self.kinds)}

    def _record(self, frame, event, argument):
        if event == 'call':
            code = frame.f_code
            self.files.add(code.co_filename)
            self.calls[code] += 1
            if code in CODES:
                self.ours.add(CODES[code])
            if code.co_varnames[:1] == ('self', ):
                self.kinds.add(type(frame.f_locals.get('self')).__name__)


def name_of_subclass(name, kinds):
    """Whether the methods in a plugin's file may have been called for a plugin that inherits it."""
    return any(issubclass(CLASSES[kind], CLASSES[name]) for kind in kinds & PLUGINS)


@functools.lru_cache(maxsize=None)
def traces(name):
    case = small(name)
    # a first call makes what later ones find: the state of an optimizer, what torch knows of an op
    _, second = ({run: Trace(call, case.gradients_of) for run, call in case.runs.items()}
                     for _ in range(2))
    return second


def shared(name):
    return next((names for part, names in SHARED.items() if name.startswith(part)), set())


@pytest.mark.parametrize('name', BENCHMARKS.module_dict)
def test_small_version_of_a_case_agrees_with_its_baselines_and_runs(name):
    case = small(name)
    assert next(iter(case.runs)).startswith('ours')
    assert not all(run.startswith('ours') for run in case.runs), 'there is no baseline'
    phases = measure(case, 'cpu', rounds=1)
    assert set(case.floor_bytes or {}) <= set(phases)
    for phase in phases.values():
        assert list(phase['runs']) == list(case.runs)


@pytest.mark.parametrize('name', BENCHMARKS.module_dict)
def test_ours_runs_what_the_case_covers_and_a_baseline_does_not(name):
    """A baseline runs nothing of the package but what SHARED names."""
    compared = set(BENCHMARKS.get(name).covers) - shared(name)
    for run, trace in traces(name).items():
        if run.startswith('ours'):
            # one op whose kernel a baseline shares is compared with what is done around it
            assert trace.ours & (compared or set(BENCHMARKS.get(name).covers)), run
        else:
            assert trace.ours <= shared(name), f'{run} runs our {trace.ours - shared(name)}'


@pytest.mark.parametrize('name', BENCHMARKS.module_dict)
def test_no_baseline_does_what_another_run_does(name):
    found = traces(name)
    for run, trace in found.items():
        others = [] if run.startswith('ours') else [other for other in found if other != run]
        assert not [other for other in others if found[other].calls == trace.calls], run


@pytest.mark.parametrize('name', BENCHMARKS.module_dict)
def test_a_baseline_runs_the_class_of_mmseg_that_it_names(name):
    for run, trace in traces(name).items():
        if run.startswith('mmseg: '):
            for word in set(re.findall('[A-Za-z]\\w+', run)) & (set(CLASSES) - PLUGINS):
                is_run = word in trace.kinds or inspect.getfile(CLASSES[word]) in trace.files
                assert is_run, f'{run}: {word} is not run'


@pytest.mark.parametrize('name', sorted(PLUGINS | OPS))
def test_what_the_package_offers_is_run_by_a_case_that_covers_it(name):
    cases = BENCHMARKS.module_dict.items()
    covering = [case for case, function in cases if name in function.covers]
    assert any(name in trace.ours for case in covering for trace in traces(case).values())


def test_shared_names_cases_and_things_that_are_there():
    assert all(any(case.startswith(part) for case in BENCHMARKS.module_dict) for part in SHARED)
    known = PLUGINS | OPS
    for names in SHARED.values():
        assert all(name in known or name.startswith('mmseg_ext::') for name in names)


@pytest.mark.parametrize('call, found', [
    (lambda: ops.sobel(torch.ones(1, 1, 3, 3)), {'sobel'}),
    (lambda: CLASSES['VGG'](depth=11, base_channels=1)(torch.ones(1, 3, 8, 8)), {'VGG'}),
    (lambda: torch.ones(3).sum(), set())])
def test_a_trace_names_what_of_ours_is_called(call, found):
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert Trace(call, ()).ours == found
