from .bootstrapped_cross_entropy import bootstrapped_cross_entropy, select_hard_pixels
from .hard_pixel_mask import hard_pixel_mask
from .hierarchical_regions import hierarchical_regions
from .library import extension_loaded

__all__ = [
    'bootstrapped_cross_entropy', 'extension_loaded', 'hard_pixel_mask', 'hierarchical_regions',
    'select_hard_pixels'
]
