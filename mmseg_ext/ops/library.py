"""How an op is made known to PyTorch's dispatcher, and how one of its implementations is chosen."""
import importlib.util
import os
import warnings
from typing import Any, Callable, Optional, Sequence

import torch
from torch import Tensor

from mmseg_ext.compat import register_dynamic_fake

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


def accumulation_dtype(tensor: Tensor) -> torch.dtype:
    """Type in which losses are computed and summed: float32 or, for float64, float64."""
    # not promote_types, which stops the compiler of torch 2.1
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def empty_gradient(tensor: Tensor) -> Tensor:
    """Make room for the gradient of a map: channels last where the map is, else contiguous."""
    channels_last = not tensor.is_contiguous() and tensor.is_contiguous(
        memory_format=torch.channels_last)
    return torch.empty_like(tensor, memory_format=torch.channels_last if channels_last else
                            torch.contiguous_format)


class Op:
    """One op of the library: its schema, its implementations and the choice among them.

    Called, it takes the arguments of the schema and ``implementation=``: ``'cpp'`` (CPU),
    ``'triton'`` (CUDA, or a CPU by its interpreter) or ``'reference'``; None for the fastest that
    the device of the first argument has. The C++ kernel is registered in ``csrc/``, under the same
    name.

    Args:
        schema (str): Name, arguments and results, in the language of ``torch.library``.
        fake (Callable): Gives results of the right shape and type without computing them.
        reference (Callable, optional): Plain PyTorch, with its own autograd: what the kernels are
            compared with, and what runs where kernels are missing. Defaults to None, for an op
            that only kernels of another op call.
        triton (str, optional): ``'module.function'`` in ``mmseg_ext.ops.triton``. Its module is
            imported by the first call.
        cpu (Callable, optional): The kernel for the CPU, where it is not C++ alone.
        cuda (Callable, optional): The kernel for CUDA, where it is not Triton.
        backward (Callable, optional): Computes the gradient of the first argument, given the
            gradient of the first result and what ``save`` returns: an ``Op`` or a function. Other
            results and other arguments have no gradient. Defaults to None: no argument has one.
        save (Callable, optional): What ``backward`` needs, from the arguments and the results of a
            call, two tuples. Defaults to the first argument, the first result, the other arguments.
        dynamic (bool): Whether sizes of the results depend on values of the arguments. ``fake``
            then makes such a size by ``torch.library.get_ctx().new_dynamic_size()``. Defaults to
            False.
    """

    def __init__(self,
                 schema: str,
                 fake: Callable,
                 reference: Optional[Callable] = None,
                 *,
                 triton: Optional[str] = None,
                 cpu: Optional[Callable] = None,
                 cuda: Optional[Callable] = None,
                 backward: Optional[Callable] = None,
                 save: Optional[Callable[[tuple, tuple], Sequence]] = None,
                 dynamic: bool = False) -> None:
        name = schema.split('(')[0]
        LIBRARY.define(schema)
        if dynamic:
            register_dynamic_fake(LIBRARY, f'mmseg_ext::{name}', fake)
        else:
            LIBRARY.impl(name, fake, 'Meta')
        self.reference = reference
        self.triton = None if triton is None else _imported_when_called(triton)
        self.backward = backward
        self.save = save or (lambda args, results: (args[0], results[0], *args[1:]))
        self.has_cuda_kernel = cuda is not None
        for key, kernel in (('CPU', cpu), ('CUDA', cuda or self.triton)):
            if kernel is not None:
                LIBRARY.impl(name, kernel, key)
        #: The op as the dispatcher calls it: kernels by device, under autograd and compilers.
        self.dispatch = getattr(torch.ops.mmseg_ext, name)
        if backward is not None:
            dispatched = backward.dispatch if isinstance(backward, Op) else backward
            LIBRARY.impl(name, lambda *args: _Autograd.apply(
                self.dispatch, dispatched, self.save, *args), 'Autograd')

    def __call__(self, *args: Any, implementation: Optional[str] = None) -> Any:
        """Run the implementation of :meth:`choose`."""
        which = self.choose(implementation, args[0].device)
        if which == 'reference':
            return self.reference(*args)
        if which == 'triton' and args[0].device.type == 'cpu':  # the dispatcher has no key for it
            return self._interpret(*args)
        return self.dispatch(*args)

    def _interpret(self, *args: Any) -> Any:
        """Run the Triton kernels in their interpreter."""
        if self.backward is None:
            return self.triton(*args)
        return _Autograd.apply(self.triton, self.backward.triton, self.save, *args)

    def choose(self, implementation: Optional[str], device: torch.device) -> str:
        """Pick an implementation.

        Args:
            implementation (str, optional): ``'cpp'``, ``'triton'``, ``'reference'`` or None.
            device (torch.device): Where the arguments are.

        Returns:
            str: One of the three, or ``'cuda'`` for a kernel on CUDA that is not Triton.

        Raises:
            ValueError: If ``implementation`` is unknown.
            RuntimeError: If it is asked for and is not there.
        """
        if implementation is None:
            return self._fastest(device)
        if implementation not in ('cpp', 'triton', 'reference'):
            raise ValueError("implementation must be 'cpp', 'triton', 'reference' or None, got "
                             f'{implementation!r}.')
        if implementation == 'cpp' and not (device.type == 'cpu' and extension_loaded()):
            raise RuntimeError(
                f"implementation='cpp' was asked for with a tensor on {device}: it needs a tensor "
                'on the CPU and the compiled extension (`pip install --no-build-isolation -e .` '
                'builds it)' + (f': {_missing}.' if _missing else '.'))
        if implementation == 'triton' and self.triton is None:
            raise RuntimeError(
                "implementation='triton' was asked for, and this op has no such kernels.")
        if implementation == 'triton' and not triton_usable(device):
            raise RuntimeError(
                f"implementation='triton' was asked for with a tensor on {device}: it needs the "
                'package triton, 3.0 or newer, and a tensor on a GPU, or TRITON_INTERPRET=1 in '
                'the environment.')
        return implementation

    def _fastest(self, device: torch.device) -> str:
        if device.type == 'cpu' and extension_loaded():
            return 'cpp'
        if device.type == 'cuda' and self.triton is None:
            return 'cuda' if self.has_cuda_kernel else 'reference'
        if device.type == 'cuda' and triton_usable(device):
            return 'triton'
        _warn_of_reference(device.type)
        return 'reference'


class _Autograd(torch.autograd.Function):
    """Autograd over a kernel and the one of its gradient, see :class:`Op`."""

    @staticmethod
    def forward(ctx, kernel, backward, save, *args):
        # else a kernel that the dispatcher finds would come back here
        with torch._C._AutoDispatchBelowAutograd():
            output = kernel(*args)
        results = output if isinstance(output, tuple) else (output, )
        ctx.mark_non_differentiable(*results[1:])
        ctx.set_materialize_grads(False)  # no zeros for the results without a gradient
        saved = save(args, results)
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in saved))
        ctx.others = [None if isinstance(x, Tensor) else x for x in saved]
        ctx.backward_kernel, ctx.num_args = backward, len(args)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *unused):
        if gradient is not None:
            saved = [other if tensor is None else tensor
                     for tensor, other in zip(ctx.saved_tensors, ctx.others)]
            gradient = ctx.backward_kernel(gradient, *saved)
        return (None, None, None, gradient, *[None] * (ctx.num_args - 1))


def _imported_when_called(path: str) -> Callable:
    module, function = path.split('.')

    def call(*args: Any) -> Any:
        kernels = importlib.import_module(f'mmseg_ext.ops.triton.{module}')
        return getattr(kernels, function)(*args)

    return call


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
    warn_once(f'mmseg_ext runs on slower PyTorch code because {reason}.', stacklevel=6)
