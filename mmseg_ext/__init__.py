"""Plugins for MMSegmentation 1.x: the pieces of four segmentation papers.

Importing this package registers every plugin in mmseg's own registries. A project adds them with

    custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)

Where mmsegmentation is not installed, only ``mmseg_ext.ops`` is there, which needs torch and numpy
alone. Asking for a plugin package there (``mmseg_ext.models``) raises the sentence of
``compat.check_environment``, which says what to install.
"""
import importlib.util

from . import compat
from .config import config_path

# importing `mmseg_ext.ops` runs this file too
if importlib.util.find_spec('mmseg') is not None:
    compat.check_environment()

    from . import datasets, engine, evaluation, models, registry, visualization  # noqa: F401

    compat.allow_checkpoint_classes()

__version__ = '0.1.0'
__all__ = [
    'compat', 'config_path', 'datasets', 'engine', 'evaluation', 'models', 'registry',
    'visualization'
]


def __getattr__(name: str) -> None:
    """Say why a plugin package was not imported; an attribute that is there never comes here."""
    if name in __all__:
        compat.check_environment()
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
