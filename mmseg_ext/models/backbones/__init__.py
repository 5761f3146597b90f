from .fcrn import FCRN
from .vgg import VGG

__all__ = ['FCRN', 'VGG']
