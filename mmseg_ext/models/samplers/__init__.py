from .bootstrap_pixel_sampler import BootstrapPixelSampler

__all__ = ['BootstrapPixelSampler']
