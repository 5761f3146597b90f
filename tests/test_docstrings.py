"""Every example in a docstring runs; one that is a config has arguments that its type takes."""
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re

import mmseg.registry
import pytest
import torch
from mmengine.registry import Registry

import mmseg_ext

REGISTRIES = [registry for registry in vars(mmseg.registry).values()
              if isinstance(registry, Registry)]
# Kernels that cannot be imported without it.
WITHOUT_TRITON = importlib.util.find_spec('triton') is None


def docstrings():
    finder = doctest.DocTestFinder(exclude_empty=False)
    for info in pkgutil.walk_packages(mmseg_ext.__path__, 'mmseg_ext.'):
        if info.name == 'mmseg_ext._C' or (WITHOUT_TRITON and '.triton.' in info.name):
            continue
        yield from finder.find(importlib.import_module(info.name))


FOUND = list(docstrings())
EXAMPLES = [test for test in FOUND if test.examples]


def test_what_is_called_an_example_has_something_that_runs():
    assert len(EXAMPLES) > 20
    announced = {test.name for test in FOUND
                 if re.search(r'^\s*(Usage|Examples?)\s*::?\s*$', test.docstring or '', re.M)}
    assert announced == {test.name for test in EXAMPLES}


@pytest.mark.parametrize('test', EXAMPLES, ids=lambda test: test.name)
def test_an_example_gives_what_it_says(test):
    torch.manual_seed(0)
    output = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    # keeps the names that the example has set
    result = runner.run(test, out=output.append, clear_globs=False)
    assert result.attempted and not result.failed, ''.join(output)
    made = {example.source.split('=')[0].strip() for example in test.examples}
    for name in made & set(test.globs):
        for part in configs_in(test.globs[name]):
            cls = next(filter(None, (registry.get(part['type']) for registry in REGISTRIES)))
            assert set(part) - {'type', '_delete_'} <= arguments_of(cls)


def configs_in(value):
    if isinstance(value, dict):
        if 'type' in value:
            yield value
        value = list(value.values())
    for child in value if isinstance(value, (list, tuple)) else ():
        yield from configs_in(child)


def arguments_of(cls):
    """Names that a class takes; those of its bases too, as long as the keywords are handed on."""
    names = set()
    for base in inspect.getmro(cls):
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            names |= set(parameters)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return names


@pytest.mark.parametrize('example, is_right', [
    ("dict(type='TrimapMetric', widths=(1, 2), prefix='x')", True),
    ("dict(type='TrimapMetric', width=1)", False), ("[dict(type='NoMetric')]", False)])
def test_a_config_in_an_example_is_looked_at(example, is_right):
    text = f'>>> evaluator = {example}'
    test = doctest.DocTestParser().get_doctest(text, {}, 'x', None, 0)
    if is_right:
        test_an_example_gives_what_it_says(test)
    else:
        with pytest.raises((AssertionError, StopIteration)):
            test_an_example_gives_what_it_says(test)
