"""Plugins for MMSegmentation 1.x: the pieces of four segmentation papers.

Importing this package registers every plugin in mmseg's own registries. A project adds them with

    custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
"""
from . import compat

compat.check_environment()

from . import datasets, engine, evaluation, models, registry, visualization  # noqa: E402

compat.allow_checkpoint_classes()

__version__ = '0.1.0'
__all__ = ['compat', 'datasets', 'engine', 'evaluation', 'models', 'registry', 'visualization']
