from .bootstrapped_cross_entropy import bootstrapped_cross_entropy, select_hard_pixels
from .gather_max import gather_max
from .grouped_cross_entropy import grouped_cross_entropy
from .hard_pixel_mask import hard_pixel_mask
from .hierarchical_regions import hierarchical_regions
from .library import extension_loaded
from .region_to_pixel import region_to_pixel, transpose_index

__all__ = [
    'bootstrapped_cross_entropy', 'extension_loaded', 'gather_max', 'grouped_cross_entropy',
    'hard_pixel_mask', 'hierarchical_regions', 'region_to_pixel', 'select_hard_pixels',
    'transpose_index'
]
