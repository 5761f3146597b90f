"""What the tests of the bootstrapped cross entropy share."""
import torch

from mmseg_ext.ops import extension_loaded

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])


def batch(shape=(2, 3, 4, 5), dtype=torch.float32, seed=0, ignored=0.2, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return logits.to(dtype), labels
