"""How far a prediction is from the truth in the embeddings of a semantic edge network."""
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ext.compat import exact_convolutions, no_autocast

from . import library
from .checks import check_ignore_index, check_logits_and_labels, check_tensors
from .library import accumulation_dtype, empty_gradient
from .semantic_edge_features import (
    Layer,
    check_layers,
    look_up,
    one_hot,
    semantic_edge_features,
)


def semantic_edge_distance(logits: Tensor,
                           labels: Tensor,
                           layers: Sequence[Layer],
                           factors: Sequence[float],
                           *,
                           pixel_weight: Optional[Tensor] = None,
                           activated: bool = True,
                           reduction: str = 'sum',
                           ignore_index: int = 255,
                           implementation: Optional[str] = None) -> Tensor:
    r"""Compare softmax(logits) and labels by the features that a frozen network has for them.

    .. math:: d_p = \sum_l f_l \sum_d |\hat\psi_{l, d, p} - \psi^*_{l, d, p}|

    at each pixel p with a label; ignored pixels are 0 in both maps and have no distance. Source:
    Eq. 4 and 5 of `SEMEDA: Enhancing Segmentation Precision with Semantic Edge Aware Loss
    <https://doi.org/10.1016/j.patcog.2020.107557>`_, with factors where it has lambdas.

    The gradient is computed together with the value and is all that is kept: no feature map
    outlives the call, and the feature maps of the labels are freed before the gradient is computed.
    Layers behind the last one with a factor other than 0 are not evaluated.

    Args:
        logits (Tensor): (N, C, H, W); float32, float64, float16 or bfloat16.
        labels (Tensor): (N, H, W), classes 0 to C - 1 or ``ignore_index``.
        layers (Sequence[tuple[Tensor, Tensor]]): As in ``semantic_edge_features``. They get no
            gradient.
        factors (Sequence[float]): f, one for each layer.
        pixel_weight (Tensor, optional): Factor of each pixel's distance, (N, H, W). It gets no
            gradient. Defaults to None: 1.
        activated (bool): Whether features are compared after ReLU and softmax. Defaults to True.
        reduction (str): ``'sum'`` over all pixels, or ``'none'``. Defaults to ``'sum'``.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        implementation (str, optional): ``'cpp'`` (CPU) or ``'reference'``, the plain way: the
            network on both maps, with autograd. None for the fastest that the device has.

    Returns:
        Tensor: A scalar, or (N, H, W); float32 for half precision.

    Raises:
        ValueError: If shapes do not fit, an option is unknown or, on a CPU, a label is no class.
        RuntimeError: If ``implementation`` is asked for and is not there.
    """
    _check(logits, labels, layers, factors, pixel_weight, reduction)
    ignore_index = check_ignore_index(ignore_index)
    factors = [float(factor) for factor in factors]
    dtype = accumulation_dtype(logits)
    weights, biases = zip(*((weight.detach().to(dtype), bias.detach().to(dtype))
                            for weight, bias in layers))
    if pixel_weight is not None:
        pixel_weight = pixel_weight.detach().to(dtype)
    reduced = reduction == 'sum'
    with_gradient = reduced and torch.is_grad_enabled() and logits.requires_grad
    distance, _ = OP(
        logits, labels, pixel_weight if reduced else None, weights, biases, factors, activated,
        ignore_index, reduced, with_gradient, implementation=implementation)
    return distance if reduced or pixel_weight is None else distance * pixel_weight


def reference(logits: Tensor, labels: Tensor, pixel_weight: Optional[Tensor],
              weights: List[Tensor], biases: List[Tensor], factors: List[float], activated: bool,
              ignore_index: int, reduced: bool, with_gradient: bool) -> Tuple[Tensor, Tensor]:
    """Run the network on both maps, with autograd. Arguments and results as in ``layerwise``."""
    valid = (labels != ignore_index)[:, None]
    layers = list(zip(weights, biases))
    with no_autocast(logits.device.type):
        truth = one_hot(labels, logits.size(1), ignore_index, weights[0].dtype)
        # before the softmax, whose gradient at an ignored NaN would be NaN
        logits = logits.to(truth.dtype).masked_fill(~valid, 0)
        maps = [logits.softmax(dim=1) * valid, truth]
        features = [semantic_edge_features(map, layers, activated=activated) for map in maps]
        distance = sum(factor * (ours - theirs).abs().sum(dim=1) * valid[:, 0]
                       for factor, ours, theirs in zip(factors, *features))
    if reduced:
        distance = (distance if pixel_weight is None else distance * pixel_weight).sum()
    return distance, logits.new_empty(0)


# ---------------------------------------------------------------- layer by layer


def layerwise(logits: Tensor, labels: Tensor, pixel_weight: Optional[Tensor],
              weights: List[Tensor], biases: List[Tensor], factors: List[float], activated: bool,
              ignore_index: int, reduced: bool, with_gradient: bool) -> Tuple[Tensor, Tensor]:
    """Give the distance and its gradient with PyTorch's kernels, keeping little on the way.

    Returns:
        tuple[Tensor, Tensor]: The weighted sum of the distances of all pixels (if ``reduced``) or
        the map of them, without weights; and the gradient of the sum with respect to the logits,
        empty if not ``with_gradient``.
    """
    valid = labels != ignore_index
    # both maps as exactly as can be: noise in a difference of 0 would have a sign
    with no_autocast(logits.device.type), exact_convolutions():
        probabilities = logits.to(accumulation_dtype(logits)).softmax(dim=1)
        probabilities = probabilities.masked_fill_(~valid[:, None], 0)
        distance, outputs, signs = _compare(probabilities, labels, weights, biases, factors,
                                            activated, ignore_index)
        weight = valid if pixel_weight is None else pixel_weight * valid
        value = (distance * weight).sum() if reduced else distance * valid
        if not with_gradient:
            return value, logits.new_empty(0)
        gradient = torch.zeros_like(distance[:, None])
        for i in reversed(range(len(signs))):
            own = signs.pop().mul_(weight[:, None]).mul_(factors[i])
            output, is_softmax = outputs.pop(), i == len(weights) - 1
            if activated:
                change = _activate_backward(gradient + own, output, is_softmax)
            else:
                change = _activate_backward(gradient, output, is_softmax) + own
            gradient = F.conv_transpose2d(change, weights[i], padding=1)
        # where a pixel is ignored its probabilities are 0, and so is its gradient
        return value, empty_gradient(logits).copy_(
            _activate_backward(gradient, probabilities, is_softmax=True))


def _compare(maps: Tensor, labels: Tensor, weights: List[Tensor], biases: List[Tensor],
             factors: List[float], activated: bool,
             ignore_index: int) -> Tuple[Tensor, List[Tensor], List[Tensor]]:
    """Go through the layers with both maps, up to the last that counts.

    Returns:
        tuple: The distance of each pixel, (N, H, W); and of each layer the output for ``maps`` and
        the signs of the differences.
    """
    distance, outputs, signs = torch.zeros_like(maps[:, 0]), [], []
    truth = labels
    used = 1 + max((i for i, factor in enumerate(factors) if factor != 0), default=-1)
    for i in range(used):
        ours = F.conv2d(maps, weights[i], biases[i], padding=1)
        truth = look_up(truth, weights[i], biases[i], ignore_index) if i == 0 else F.conv2d(
            truth, weights[i], biases[i], padding=1)
        before = ours, truth
        maps, truth = (_activate(map, i == len(weights) - 1) for map in before)
        difference = maps - truth if activated else torch.sub(*before)
        distance += factors[i] * difference.abs().sum(dim=1)
        outputs.append(maps)
        signs.append(difference.sign_())
    return distance, outputs, signs


def _activate(before: Tensor, is_softmax: bool) -> Tensor:
    return before.softmax(dim=1) if is_softmax else before.relu()


def _activate_backward(gradient: Tensor, output: Tensor, is_softmax: bool) -> Tensor:
    if is_softmax:
        return output * (gradient - (gradient * output).sum(dim=1, keepdim=True))
    return gradient * (output > 0)


def _save(args: tuple, results: tuple) -> tuple:
    """The gradient where it is there, else what it takes to compute that of a map."""
    reduced = args[-2]
    return results[1:] if reduced else args


def _backward(received: Tensor, *saved) -> Tensor:
    if len(saved) > 1:
        logits, labels, _, *options, _, _ = saved
        return OP.dispatch(logits, labels, received.contiguous(), *options, True, True)[1]
    # A loss scale of 2^16 is infinite in float16, so the product is made in the type that it
    # arrives in: as a number for each axis, for PyTorch rounds one without axes.
    return torch.mul(saved[0], received.view(1, 1, 1, 1), out=torch.empty_like(saved[0]))


def _fake(logits, labels, pixel_weight, weights, biases, factors, activated, ignore_index, reduced,
          with_gradient):
    dtype = accumulation_dtype(logits)
    value = logits.new_empty(() if reduced else labels.shape, dtype=dtype)
    return value, empty_gradient(logits) if with_gradient else logits.new_empty(0)


def _check(logits: Tensor, labels: Tensor, layers: Sequence[Layer], factors: Sequence[float],
           pixel_weight: Optional[Tensor], reduction: str) -> None:
    check_layers(layers)
    check_logits_and_labels(logits, labels)
    if reduction not in ('sum', 'none'):
        raise ValueError(f"reduction must be 'sum' or 'none', got {reduction!r}.")
    if len(factors) != len(layers):
        raise ValueError(f'factors must be one number for each of the {len(layers)} layers, got '
                         f'{factors}.')
    if logits.size(1) != layers[0][0].size(1):
        raise ValueError(f'The logits have {logits.size(1)} classes, the network was made for '
                         f'{layers[0][0].size(1)}.')
    if pixel_weight is not None:
        check_tensors(pixel_weight=pixel_weight)
    if pixel_weight is not None and pixel_weight.shape != labels.shape:
        raise ValueError(f'pixel_weight must be (N, H, W), {tuple(labels.shape)}, got '
                         f'{tuple(pixel_weight.shape)}.')


OP = library.Op(
    'semantic_edge_distance(Tensor logits, Tensor labels, Tensor? pixel_weight, Tensor[] weights, '
    'Tensor[] biases, float[] factors, bool activated, int ignore_index, bool reduced, '
    'bool with_gradient) -> (Tensor, Tensor)',
    _fake,
    reference,
    cuda=layerwise,
    backward=_backward,
    save=_save)
