"""Registries of this package's own. Plugins register in mmseg's (``mmseg.registry``)."""
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

#: Benchmark cases: at least one for every op and plugin (``tools/benchmark.py`` runs them).
BENCHMARKS = Registry('benchmark', scope='mmseg_ext', locations=['mmseg_ext.benchmarks'])

# Lets a config inherit one of ours by `_base_ = 'mmseg_ext::lrn/...'`. mmengine builds such a
# config in the scope 'mmseg_ext'; empty children of mmseg's registries lead each lookup on to
# mmseg, where the plugins are.
MODULE2PACKAGE['mmseg_ext'] = 'mmseg_ext'
for parent in list(vars(mmseg_registry).values()):
    if isinstance(parent, Registry):
        Registry(parent.name, parent=parent, scope='mmseg_ext', locations=['mmseg_ext'])
