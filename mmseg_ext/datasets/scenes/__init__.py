from .classes import CLASSES, PALETTE, THING_CLASSES
from .draw_scene import draw_scene

__all__ = ['CLASSES', 'PALETTE', 'THING_CLASSES', 'draw_scene']
