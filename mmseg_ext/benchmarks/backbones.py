"""Benchmark cases of backbones that no paper's family has."""
import importlib
import importlib.util
from typing import Callable

import torch
import torch.nn as nn
from mmseg.registry import MODELS
from torch import Tensor

from .case import Case, benchmark, sizes

REFERENCE = 'efficientnet_lite_pytorch'


@benchmark('EfficientNetLite')
def efficient_net_lite(device: str, small: bool = False) -> Case:
    """Forward and backward pass of EfficientNet-lite0, against another implementation of it.

    The other is ``efficientnet-lite-pytorch``, which here drops no blocks at random. Where it is
    not installed the baseline is mmseg's ``MobileNetV2``, a smaller network of the same kind, so
    there is no parity to check.
    """
    torch.manual_seed(0)
    shape = (2, 3, 64, 64) if small else (8, 3, 224, 224)
    images = torch.randn(*shape, device=device)
    # Without the convolution in front of the classifier where the baseline has none.
    has_reference = importlib.util.find_spec(REFERENCE) is not None
    ours = MODELS.build(
        dict(type='EfficientNetLite', out_indices=(7 if has_reference else 6, ))).to(device)
    runs = {'ours: EfficientNetLite': _forward_and_backward(ours, lambda: ours(images)[0])}
    parity = None
    if has_reference:
        reference = importlib.import_module(REFERENCE).EfficientNet.from_name(
            'efficientnet-lite0', image_size=shape[2], drop_connect_rate=0.).to(device)
        runs['efficientnet-lite-pytorch'] = _forward_and_backward(
            reference, lambda: reference.extract_features(images))

        def parity() -> None:
            ours.load_state_dict(reference.state_dict())
            torch.testing.assert_close(ours(images)[0], reference.extract_features(images))
    else:
        mmsegs = MODELS.build(dict(type='MobileNetV2', out_indices=(6, ))).to(device)
        runs['mmseg: MobileNetV2'] = _forward_and_backward(mmsegs, lambda: mmsegs(images))
    return Case(
        inputs=f'{sizes(shape)} float32, batch norm in training mode',
        phase='forward+backward',
        runs=runs,
        parity=parity)


def _forward_and_backward(model: nn.Module, forward: Callable[[], Tensor]) -> Callable[[], object]:
    """Return a run that computes the gradients of all parameters but those of a classifier."""
    model.train()
    parameters = [p for name, p in model.named_parameters() if not name.startswith('_fc.')]
    return lambda: torch.autograd.grad(forward().mean(), parameters)
