from .channels_last_hook import ChannelsLastHook
from .checkpoint_compatibility_hook import CheckpointCompatibilityHook
from .hard_pixel_visualization_hook import HardPixelVisualizationHook
from .instance_visualization_hook import InstanceVisualizationHook
from .region_visualization_hook import RegionVisualizationHook
from .semantic_edge_net_hook import SemanticEdgeNetHook
from .stage_visualization_hook import StageVisualizationHook

__all__ = [
    'ChannelsLastHook', 'CheckpointCompatibilityHook', 'HardPixelVisualizationHook',
    'InstanceVisualizationHook', 'RegionVisualizationHook', 'SemanticEdgeNetHook',
    'StageVisualizationHook'
]
