"""Embeddings of label maps, hard or soft, in a small network that detects semantic edges."""
from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_ignore_index, check_labels, check_tensors, is_integer

#: The weight (out, in, 3, 3) and the bias (out,) of a convolution.
Layer = Tuple[Tensor, Tensor]


def semantic_edge_features(maps: Tensor,
                           layers: Sequence[Layer],
                           ignore_index: int = 255,
                           activated: bool = True) -> List[Tensor]:
    r"""Compute the feature maps of a network of 3x3 convolutions on a map of labels.

    The embeddings :math:`\psi_1, ..., \psi_L` of `SEMEDA: Enhancing Segmentation Precision with
    Semantic Edge Aware Loss <https://doi.org/10.1016/j.patcog.2020.107557>`_ (sections 3.2, 3.4):
    ReLU after each convolution but the last, which has a softmax. A map of C probabilities is
    convolved; a map of labels means the same as its one-hot map, but its first layer is looked up
    in the weights, so that no map of C channels is made. Beyond the image and at ignored pixels all
    classes are 0.

    Shapes: N images, C classes, L layers, D_l channels of layer l.

    Args:
        maps (Tensor): Probabilities, (N, C, H, W), 0 at ignored pixels; or integer labels,
            (N, H, W).
        layers (Sequence[tuple[Tensor, Tensor]]): Weight (D_l, D_{l-1}, 3, 3) and bias (D_l,) of
            each layer; D_0 is C.
        ignore_index (int): Label without a class. Defaults to 255.
        activated (bool): Whether the maps are taken after ReLU and softmax (what the paper calls
            the embeddings is not said) or before them. Defaults to True.

    Returns:
        list[Tensor]: (N, D_l, H, W) for each layer, of the type of the weights (under autocast, of
        that of convolutions).

    Raises:
        ValueError: If the shapes do not fit or, on a CPU, a label is neither a class nor
            ``ignore_index`` (a GPU asserts).
    """
    check_layers(layers)
    check_tensors(maps=maps)
    ignore_index = check_ignore_index(ignore_index)
    features = []
    for number, (weight, bias) in enumerate(layers):
        if number == 0 and maps.ndim == 3:
            before = look_up(maps, weight, bias, ignore_index)
        elif maps.ndim == 4 and maps.size(1) == weight.size(1):
            before = F.conv2d(maps, weight, bias, padding=1)
        else:
            raise ValueError(
                f'maps must be labels (N, H, W) or probabilities (N, {weight.size(1)}, H, W), as '
                f'the first layer has {weight.size(1)} input channels; got {tuple(maps.shape)}.')
        maps = before.relu() if number < len(layers) - 1 else before.softmax(dim=1)
        features.append(maps if activated else before)
    return features


def look_up(labels: Tensor, weight: Tensor, bias: Tensor, ignore_index: int) -> Tensor:
    """Convolve the one-hot map of labels (N, H, W) without making it: (N, D, H, W), channels last.

    Raise a ValueError if the labels are no integers or, on a CPU, one of them is no class.
    """
    if labels.ndim != 3 or not is_integer(labels):
        raise ValueError('labels must be an integer tensor (N, H, W), got '
                         f'{labels.dtype} {tuple(labels.shape)}.')
    (height, width), (channels, classes) = labels.shape[1:], weight.shape[:2]
    known = labels.long() != ignore_index  # to uint8 labels, 256 would be 0
    check_labels(labels, known, classes, ignore_index)
    if labels.numel() == 0:
        return bias.expand(len(labels), height, width, channels).permute(0, 3, 1, 2)
    # Nine numbers a pixel: in 32 bits they are half as many bytes.
    labels = labels.int()
    # C stands for no class: its weights are 0
    labels = F.pad(labels.where(known, labels.new_full((), classes)), (1, 1, 1, 1), value=classes)
    tables = F.pad(weight.permute(2, 3, 1, 0), (0, 0, 0, 1))  # (3, 3, C + 1, D)
    table = torch.arange(0, 9 * (classes + 1), classes + 1, dtype=labels.dtype,
                         device=labels.device)
    rows = labels.unfold(1, 3, 1).unfold(2, 3, 1).flatten(3) + table  # (N, H, W, 9)
    total = F.embedding_bag(rows.flatten(0, 2), tables.flatten(0, 2), mode='sum') + bias
    return total.view(len(labels), height, width, channels).permute(0, 3, 1, 2)


def one_hot(labels: Tensor, num_classes: int, ignore_index: int, dtype: torch.dtype) -> Tensor:
    """Make the map (N, C, H, W) of labels, 0 where ignored.

    For where a gradient with respect to weights is asked for: that of a convolution takes less time
    than that of a look-up.
    """
    known = labels != ignore_index
    check_labels(labels, known, num_classes, ignore_index)
    index = labels.where(known, labels.new_zeros(())).long()[:, None]
    size = (len(labels), num_classes, *labels.shape[1:])
    maps = torch.zeros(size, dtype=dtype, device=labels.device)
    return maps.scatter_(1, index, known[:, None].to(dtype))


def check_layers(layers: Sequence[Layer]) -> None:
    """Raise a ValueError unless layers are pairs of a weight and a bias that fit each other."""
    for layer in layers:
        if not isinstance(layer, (tuple, list)) or len(layer) != 2:
            raise ValueError('layers must be pairs of a weight and a bias, got '
                             f'{type(layer).__name__}.')
        check_tensors(weight=layer[0], bias=layer[1])
    shapes = [tuple(weight.shape) for weight, _ in layers]
    fit = all(len(shape) == 4 and shape[0] > 0 and shape[2:] == (3, 3) and bias.shape == shape[:1]
              for shape, (_, bias) in zip(shapes, layers))
    if not layers or not fit or any(a[0] != b[1] for a, b in zip(shapes, shapes[1:])):
        raise ValueError('layers must be weights (D, C, 3, 3) and biases (D,), each with as many '
                         f'input channels as the one before has outputs; got weights {shapes}.')
