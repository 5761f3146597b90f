from .pixel_box_coder import PixelBoxCoder

__all__ = ['PixelBoxCoder']
