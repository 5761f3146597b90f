"""What the tests of SEMEDALoss share."""
import torch

from mmseg_ext.models import SEMEDALoss


def batch():
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 3, 6, 5, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 6, 5), generator=generator)
    label[0, :2] = 255
    label[1, 3, 3] = 255
    return pred, label


def random_loss(num_classes=3, **kwargs):
    """A loss whose network has random weights and biases and needs no training."""
    torch.manual_seed(1)
    loss = SEMEDALoss(num_classes, **kwargs)
    for value in loss.edge_net.buffers():
        value.normal_(std=0.5)
    loss.is_ready = True
    return loss
