"""Pixels of three instances, as the loss and the sampler of a localization head get them."""
import torch

from mmseg_ext.models import PixelBoxCoder
from mmseg_ext.models.box_coders.pixel_boxes import PixelBoxes

CODER = PixelBoxCoder(unit=8.)
#: Image, rows, columns and relative box (x1, y1, x2, y2) of the first pixel of each instance.
INSTANCES = [(0, (0, 3), (1, 6), (-0.5, -0.5, 6.5, 2.5)),
             (0, (4, 6), (0, 2), (-2.5, -3.5, 21.5, 12.5)),
             (1, (2, 3), (3, 9), (-0.5, -0.5, 5.5, 0.5))]


def some_target(dtype=torch.float32):
    """PixelBoxes of two images of 7x9 pixels; in an instance, the boxes shift with the pixels."""
    boxes = torch.tensor([0., 0., 1., 1.], dtype=dtype).view(1, 4, 1, 1).repeat(2, 1, 7, 9)
    valid = torch.zeros(2, 7, 9, dtype=torch.bool)
    for n, (top, bottom), (left, right), box in INSTANCES:
        for y in range(top, bottom):
            for x in range(left, right):
                shift = torch.tensor([x - left, y - top] * 2, dtype=dtype)
                boxes[n, :, y, x] = torch.tensor(box, dtype=dtype) - shift
                valid[n, y, x] = True
    return PixelBoxes(CODER.encode(boxes), boxes, valid)


def some_pred(dtype=torch.float32, noise=1.):
    """Predictions for ``some_target``, (2, 4, 7, 9)."""
    error = torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    return some_target(dtype).transforms + noise * error


def nothing_counts(target):
    """The same boxes without a valid pixel."""
    return target._replace(valid=torch.zeros_like(target.valid))
