"""What the metrics count."""
from typing import Tuple, Union

import numpy as np
import torch
from torch import Tensor

Array = Union[np.ndarray, Tensor]


def confusion_matrix(pred: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Count the pixels of an image by true (rows) and predicted class, (C, C) int64 on the CPU.

    Takes two label maps (H, W); raises a ValueError if the sizes differ or a valid value is no
    class.
    """
    pred, label = valid_pixels(pred, label, num_classes, ignore_index)
    counts = torch.bincount(label * num_classes + pred, minlength=num_classes**2)
    return counts.view(num_classes, num_classes).cpu()


def valid_pixels(pred: Tensor, label: Tensor, num_classes: int,
                 ignore_index: int) -> Tuple[Tensor, Tensor]:
    """Take the pixels of an image that count (arguments and errors as ``confusion_matrix``).

    Returns:
        tuple[Tensor, Tensor]: Their predicted and their true classes, both (P,) int64.
    """
    check_same_size(pred, label)
    valid = label != ignore_index
    pred, label = pred[valid].long(), label[valid].long()
    check_classes(pred, label, num_classes, ignore_index)
    return pred, label


def check_same_size(pred: Tensor, label: Tensor) -> None:
    """Raise a ValueError if a prediction and its label map differ in size."""
    if pred.shape != label.shape:
        raise ValueError(
            f'A prediction has the shape {tuple(pred.shape)}, its label map {tuple(label.shape)}, '
            'but they must be equal: put LoadAnnotations behind Resize in the test pipeline, so '
            'that the label map keeps the size of the file.')


def check_classes(pred: Array, label: Array, num_classes: int, ignore_index: int) -> None:
    """Raise a ValueError if a value is no class. Ignored pixels are left out, or hold a class."""
    for values, what, advice in (
        (pred, 'A prediction', 'the num_classes of the model'),
        (label, 'A label map', f'the classes of the data set (ignored: {ignore_index})')):
        if 0 not in values.shape and (values.min() < 0 or values.max() >= num_classes):
            wrong = values[(values < 0) | (values >= num_classes)][0]
            raise ValueError(f'{what} holds the value {wrong}, but classes are 0 to '
                             f'{num_classes - 1}: check {advice}.')


def per_cent(value: Tensor) -> float:
    """A share as the tables have it."""
    return round(100 * float(value), 2)
