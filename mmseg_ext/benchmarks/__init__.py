from . import lrn
from .case import Case
from .measure import measure

__all__ = ['Case', 'lrn', 'measure']
