from .checkpoint_compatibility_hook import CheckpointCompatibilityHook
from .stage_visualization_hook import StageVisualizationHook

__all__ = ['CheckpointCompatibilityHook', 'StageVisualizationHook']
