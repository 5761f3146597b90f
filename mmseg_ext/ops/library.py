"""The library ``mmseg_ext`` of PyTorch's dispatcher, and the choice among the implementations."""
import importlib.util
import os
import warnings
from typing import Callable, Optional

import torch
from torch import Tensor

#: Schemas live here, kernels in ``csrc/`` (CPU, compiled) and ``triton/`` (CUDA).
LIBRARY = torch.library.Library('mmseg_ext', 'DEF')

try:
    importlib.import_module('mmseg_ext._C')
    _missing = ''
except ImportError as error:  # not built, or built for another torch
    _missing = str(error).splitlines()[0]
# The module, for its distribution has another name on some platforms (pytorch-triton, ...). A mere
# folder of the name has no origin.
_triton_found = getattr(importlib.util.find_spec('triton'), 'origin', None) is not None


def extension_loaded() -> bool:
    """Whether the compiled CPU kernels are there."""
    return not _missing


def triton_usable(device: torch.device) -> bool:
    """Whether Triton runs on a device: CUDA, or a CPU by its interpreter (TRITON_INTERPRET=1)."""
    on_device = device.type == 'cuda' or os.environ.get('TRITON_INTERPRET') == '1'
    return on_device and _has_triton_3()


def _has_triton_3() -> bool:
    """Whether there is a Triton that can compile the kernels: 3.0, which came with torch 2.4."""
    if not _triton_found:
        return False
    import triton
    return int(triton.__version__.split('.')[0]) >= 3


def widest_float(device: torch.device) -> torch.dtype:
    """Floating-point type with the most digits on a device: MPS has no float64."""
    return torch.float32 if device.type == 'mps' else torch.float64


def choose(implementation: Optional[str], tensor: Tensor, has_triton: bool = True) -> str:
    """Pick the implementation of an op.

    Args:
        implementation (str, optional): ``'cpp'``, ``'triton'`` or ``'reference'``; None for the
            fastest that the device has.
        tensor (Tensor): The input whose device decides.
        has_triton (bool): Whether the op has kernels in Triton. Defaults to True.

    Returns:
        str: One of the three.

    Raises:
        ValueError: If ``implementation`` is unknown.
        RuntimeError: If it is asked for and is not there.
    """
    device = tensor.device
    if implementation is None:
        if device.type == 'cpu' and extension_loaded():
            return 'cpp'
        if device.type == 'cuda' and not has_triton:
            return 'reference'
        if device.type == 'cuda' and triton_usable(device):
            return 'triton'
        _warn_of_reference(device.type)
        return 'reference'
    if implementation == 'cpp' and not (device.type == 'cpu' and extension_loaded()):
        raise RuntimeError(
            f"implementation='cpp' was asked for with a tensor on {device}: it needs a tensor on "
            'the CPU and the compiled extension (`pip install --no-build-isolation -e .` builds it)'
            + (f': {_missing}.' if _missing else '.'))
    if implementation == 'triton' and not has_triton:
        raise RuntimeError(
            "implementation='triton' was asked for, and this op has no such kernels.")
    if implementation == 'triton' and not triton_usable(device):
        raise RuntimeError(
            f"implementation='triton' was asked for with a tensor on {device}: it needs the "
            'package triton, 3.0 or newer, and a tensor on a GPU, or TRITON_INTERPRET=1 in the '
            'environment.')
    if implementation not in ('cpp', 'triton', 'reference'):
        raise ValueError("implementation must be 'cpp', 'triton', 'reference' or None, got "
                         f'{implementation!r}.')
    return implementation


_warned = set()


def warn_once(sentence: str, stacklevel: int = 2) -> None:
    """Warn, unless the same was said before."""
    if sentence not in _warned:
        _warned.add(sentence)
        warnings.warn(sentence, stacklevel=stacklevel + 1)


def _warn_of_reference(device_type: str) -> None:
    if device_type == 'cpu':
        reason = f'its compiled kernels are not there ({_missing})'
    elif device_type == 'cuda':
        reason = 'the package triton, 3.0 or newer, is not installed'
    else:
        reason = f'it has no kernels for {device_type}'
    warn_once(f'mmseg_ext runs on slower PyTorch code because {reason}.', stacklevel=4)


def define(name: str, schema: str, fake: Callable, triton: Optional[str] = None) -> None:
    """Declare an op.

    Args:
        name (str): Its name.
        schema (str): Its arguments and results, in the language of ``torch.library``.
        fake (Callable): Gives results of the right shape and type without computing them.
        triton (str, optional): ``'module.function'`` in ``mmseg_ext.ops.triton`` that is called
            for tensors on CUDA. Its module is imported by the first call.
    """
    LIBRARY.define(f'{name}{schema}')
    LIBRARY.impl(name, fake, 'Meta')
    if triton is not None:
        module, function = triton.split('.')

        def call(*args):
            kernels = importlib.import_module(f'mmseg_ext.ops.triton.{module}')
            return getattr(kernels, function)(*args)

        LIBRARY.impl(name, call, 'CUDA')
