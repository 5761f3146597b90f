"""All that the package offers has a docstring, a test file of its name, a config, a benchmark."""
import inspect
from pathlib import Path

import mmseg.registry
import pytest
from mmengine.registry import Registry

import mmseg_ext
import mmseg_ext.benchmarks  # noqa: F401  (registers the cases)
from mmseg_ext import ops
from mmseg_ext.registry import BENCHMARKS

ROOT = Path(__file__).parents[1]
PLUGINS = {
    name: cls
    for registry in vars(mmseg.registry).values() if isinstance(registry, Registry)
    for name, cls in registry.module_dict.items() if cls.__module__.startswith('mmseg_ext.')
}
# extension_loaded asks about the installation and RegionSet is a type; the others compute
OPS = sorted(set(ops.__all__) - {'extension_loaded', 'RegionSet'})


def squash(name):
    return name.lower().replace('_', '')


def test_the_public_names_of_the_design_are_registered():
    assert {'VGG', 'LRNHead', 'SegNetHead', 'StagewiseIoUMetric', 'CamVidDataset',
            'SUNRGBDDataset', 'ScenesDataset'} <= set(PLUGINS)


@pytest.mark.parametrize('name', PLUGINS)
def test_a_plugin_has_a_docstring_and_a_file_of_its_name(name):
    cls = PLUGINS[name]
    assert len(inspect.getdoc(cls)) > 100
    assert squash(Path(inspect.getfile(cls)).stem) == squash(name)


@pytest.mark.parametrize('name', PLUGINS)
def test_a_plugin_has_a_test_file_where_the_package_has_it(name):
    folder = Path(inspect.getfile(PLUGINS[name])).parent
    tests = ROOT / 'tests' / folder.relative_to(Path(mmseg_ext.__file__).parent)
    assert squash(f'test{name}') in {squash(p.stem) for p in tests.glob('test_*.py')}


@pytest.mark.parametrize('name', PLUGINS)
def test_a_plugin_is_used_by_a_config(name):
    assert any(f"'{name}'" in p.read_text() for p in (ROOT / 'configs').rglob('*.py'))


@pytest.mark.parametrize('name', [*PLUGINS, *OPS])
def test_a_plugin_or_op_has_a_benchmark_case(name):
    assert any(name in case.covers for case in BENCHMARKS.module_dict.values())


@pytest.mark.parametrize('name', BENCHMARKS.module_dict)
def test_a_benchmark_case_says_what_it_compares_and_covers_what_there_is(name):
    case = BENCHMARKS.get(name)
    assert len(inspect.getdoc(case)) > 40
    assert case.covers and set(case.covers) <= {*PLUGINS, *OPS}


def test_plugins_build_in_the_scope_of_a_config_inherited_by_package_name():
    """mmengine builds what comes from 'mmseg_ext::...' with this scope."""
    model = mmseg.registry.MODELS.build(dict(type='VGG', base_channels=1, _scope_='mmseg_ext'))
    assert type(model) is PLUGINS['VGG']
