from .bootstrap_pixel_sampler import BootstrapPixelSampler
from .iou_bootstrap_sampler import IoUBootstrapSampler

__all__ = ['BootstrapPixelSampler', 'IoUBootstrapSampler']
