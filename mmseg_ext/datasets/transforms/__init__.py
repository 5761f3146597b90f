from .generate_regions import GenerateRegions
from .load_regions import LoadRegions
from .pack_region_inputs import PackRegionInputs

__all__ = ['GenerateRegions', 'LoadRegions', 'PackRegionInputs']
