"""The library ``mmseg_ext`` of PyTorch's dispatcher, and the choice among the implementations."""
import importlib.metadata
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
# The kernels need Triton 3, which came with torch 2.4.
try:
    _has_triton = int(importlib.metadata.version('triton').split('.')[0]) >= 3
except importlib.metadata.PackageNotFoundError:  # none, or one of another name
    _has_triton = False


def extension_loaded() -> bool:
    """Whether the compiled CPU kernels are there."""
    return not _missing


def triton_usable(device: torch.device) -> bool:
    """Whether Triton runs on a device: CUDA, or a CPU by its interpreter (TRITON_INTERPRET=1)."""
    return _has_triton and (device.type == 'cuda' or os.environ.get('TRITON_INTERPRET') == '1')


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
        _warn_once(device.type)
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


def _warn_once(device_type: str) -> None:
    if device_type in _warned:
        return
    _warned.add(device_type)
    if device_type == 'cpu':
        reason = f'its compiled kernels are not there ({_missing})'
    elif device_type == 'cuda':
        reason = 'the package triton, 3.0 or newer, is not installed'
    else:
        reason = f'it has no kernels for {device_type}'
    warnings.warn(f'mmseg_ext runs on slower PyTorch code because {reason}.', stacklevel=3)


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
