"""The true box of every pixel, from a map of instances.

Shapes: N images of H x W pixels, K instances of the batch; h x w pixels that count, all of them or
one of each s x s.
"""
from typing import NamedTuple, Tuple

import torch
from torch import Tensor


class PixelBoxes(NamedTuple):
    """What the pixels of a batch are to regress; it takes the place of labels.

    Attributes:
        transforms (Tensor): Regression targets, (N, 4, h, w) float32.
        boxes (Tensor): True boxes relative to the pixel's centre: x1, y1, x2, y2 in pixels,
            (N, 4, h, w) float32.
        valid (Tensor): Pixels of an instance that has a class with instances, (N, h, w) bool. What
            the other two hold elsewhere is finite and has no meaning.
    """
    transforms: Tensor
    boxes: Tensor
    valid: Tensor

    @property
    def areas(self) -> Tensor:
        """Areas of the true boxes in pixels, (N, h, w)."""
        x1, y1, x2, y2 = self.boxes.unbind(dim=1)
        return (x2 - x1) * (y2 - y1)


def instance_boxes(instances: Tensor) -> Tuple[Tensor, Tensor]:
    """Find the boxes of the instances of a batch.

    Args:
        instances (Tensor): (N, H, W) integers from 0, no instance. Numbers may be left out, and
            count in each image.

    Returns:
        tuple[Tensor, Tensor]: Boxes x1, y1, x2, y2, (K + 1, 4) int64, of which the last is the
        box of one pixel and stands for no instance; and the row of each pixel, (N, H, W) int64.

    Note:
        A box goes from its first pixel, inclusive, to behind its last: an instance of one pixel
        has a box of width and height 1. Parts that do not touch are one instance.
    """
    count, height, width = instances.shape
    most = int(instances.max()) + 1 if instances.numel() else 1
    image = torch.arange(count, device=instances.device).view(-1, 1, 1)
    number = instances.long() + most * image
    # Writes without order, of one value: less than half the time of a minimum and a maximum.
    present = torch.zeros(count * most, dtype=torch.bool, device=instances.device)
    present[number.flatten()] = True
    present[::most] = False
    rows = present.cumsum(dim=0) - 1
    total = int(present.sum())
    number = rows.where(present, rows.new_full((), total))[number]

    ends = []
    for dim, length in ((2, width), (1, height)):
        place = torch.arange(length, device=instances.device)
        place = place if dim == 2 else place[:, None]
        # uint8, as argmax takes no bool
        found = torch.zeros(total + 1, length, dtype=torch.uint8, device=instances.device)
        found[number, place.expand(height, width)] = 1
        found[total] = 0
        found[total, :1] = 1
        ends += [found.argmax(dim=1), length - found.flip(1).argmax(dim=1)]
    return torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1), number


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each box with the other at its place.

    Args:
        boxes (Tensor): x1, y1, x2, y2, (..., 4, H, W).
        others (Tensor): Same shape.

    Returns:
        Tensor: (..., H, W), 0 for two boxes without area.
    """
    x1, y1, x2, y2 = boxes.unbind(dim=-3)
    a1, b1, a2, b2 = others.unbind(dim=-3)
    common = ((torch.min(x2, a2) - torch.max(x1, a1)).clamp(min=0) *
              (torch.min(y2, b2) - torch.max(y1, b1)).clamp(min=0))
    union = (x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - common
    return common / union.where(union > 0, torch.ones_like(union))
