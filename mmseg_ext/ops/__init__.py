from .bootstrapped_cross_entropy import bootstrapped_cross_entropy, select_hard_pixels
from .cluster_pixel_boxes import cluster_pixel_boxes
from .free_form_roi_pool import free_form_roi_pool
from .gather_max import gather_max
from .grouped_cross_entropy import grouped_cross_entropy
from .hard_pixel_mask import hard_pixel_mask
from .hierarchical_regions import hierarchical_regions
from .library import extension_loaded
from .pixel_instances import logits_to_instances, pixel_instances
from .region_geometry import label_counts, region_geometry, region_grid_masks
from .region_set import RegionSet, transpose_index
from .region_to_pixel import region_to_pixel
from .semantic_edge_distance import semantic_edge_distance
from .semantic_edge_features import semantic_edge_features
from .semantic_edges import semantic_edges
from .sobel import sobel
from .upsampled_argmax import upsampled_argmax
from .upsampled_cross_entropy import upsampled_cross_entropy

__all__ = [
    'RegionSet', 'bootstrapped_cross_entropy', 'cluster_pixel_boxes', 'extension_loaded',
    'free_form_roi_pool', 'gather_max', 'grouped_cross_entropy', 'hard_pixel_mask',
    'hierarchical_regions', 'label_counts', 'logits_to_instances', 'pixel_instances',
    'region_geometry', 'region_grid_masks', 'region_to_pixel', 'select_hard_pixels',
    'semantic_edge_distance', 'semantic_edge_features', 'semantic_edges', 'sobel',
    'transpose_index', 'upsampled_argmax', 'upsampled_cross_entropy'
]
