from . import (
    backbones,
    bootstrapping,
    datasets,
    engine,
    evaluation,
    instance_models,
    instances,
    lrn,
    region_data,
    region_head,
    regions,
    semeda,
    semeda_models,
    semeda_ops,
    upsampling,
)
from .case import Case, benchmark, family
from .measure import measure

__all__ = [
    'Case', 'backbones', 'benchmark', 'bootstrapping', 'datasets', 'engine', 'evaluation', 'family',
    'instance_models', 'instances', 'lrn', 'measure', 'region_data', 'region_head', 'regions',
    'semeda', 'semeda_models', 'semeda_ops', 'upsampling'
]
