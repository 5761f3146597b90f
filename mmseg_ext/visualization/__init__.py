from .stages import colorize, draw_stages

__all__ = ['colorize', 'draw_stages']
