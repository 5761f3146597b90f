from . import bootstrapping, datasets, engine, lrn, regions
from .case import Case, benchmark, family
from .measure import measure

__all__ = [
    'Case', 'benchmark', 'bootstrapping', 'datasets', 'engine', 'family', 'lrn', 'measure',
    'regions'
]
