from .generate_regions import GenerateRegions
from .load_instance_annotations import LoadInstanceAnnotations
from .load_regions import LoadRegions
from .pack_instance_inputs import PackInstanceInputs
from .pack_region_inputs import PackRegionInputs

__all__ = [
    'GenerateRegions', 'LoadInstanceAnnotations', 'LoadRegions', 'PackInstanceInputs',
    'PackRegionInputs'
]
