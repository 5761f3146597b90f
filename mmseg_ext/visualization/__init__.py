from .hard_pixels import draw_class_shares, draw_hard_pixels
from .stages import colorize, draw_stages

__all__ = ['colorize', 'draw_class_shares', 'draw_hard_pixels', 'draw_stages']
