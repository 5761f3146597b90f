from .edges import draw_embedding, draw_embedding_sheet, draw_entropy, draw_entropy_sheet
from .hard_pixels import draw_class_shares, draw_hard_pixels
from .instances import draw_instances
from .regions import draw_proposals, draw_winners, winning_regions
from .stages import draw_stages
from .tiles import colorize

__all__ = [
    'colorize', 'draw_class_shares', 'draw_embedding', 'draw_embedding_sheet', 'draw_entropy',
    'draw_entropy_sheet', 'draw_hard_pixels', 'draw_instances', 'draw_proposals', 'draw_stages',
    'draw_winners', 'winning_regions'
]
