"""The only module that knows about versions of torch, mmengine, mmcv and mmsegmentation.

It can be imported without any of them, so that what is missing is reported in a sentence.
"""
import importlib
import importlib.util
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pickle import UnpicklingError
from typing import Any, Callable, ContextManager, Iterator, List, Optional, Tuple

import numpy as np

# Import name, names of the distribution, versions that mmsegmentation 1.x and we work with.
REQUIREMENTS = (
    ('torch', ('torch',), '>=2.1'),
    ('mmengine', ('mmengine', 'mmengine-lite'), '>=0.5.0,<1.0.0'),
    ('mmcv', ('mmcv', 'mmcv-lite', 'mmcv-full'), '>=2.0.0rc4,<2.2.0'),
    # 1.1.0 is the first with HuasdorffDisstanceLoss, which our pixel sampler knows
    ('mmseg', ('mmsegmentation',), '>=1.1.0,<2.0.0'),
)
# mmsegmentation imports these without declaring them.
UNDECLARED_REQUIREMENTS = ('ftfy', 'regex')

# Without --no-build-isolation pip builds mmcv in an environment that has no torch, and mmcv then
# leaves its operators out without a word.
BUILD_MMCV = ("pip install --no-build-isolation --no-cache-dir --no-binary mmcv 'mmcv==2.1.0' "
              "(needs gcc and 'setuptools<81', takes about 10 minutes)")

HISTORY_BUFFER_STATISTICS = ('min', 'max', 'mean', 'current')


def check_environment() -> None:
    """Check that mmsegmentation 1.x can be imported, before its import fails in its own words.

    Otherwise raises an ImportError in one sentence: a package is missing or outside the range of
    mmsegmentation 1.x, or mmcv has no working operators. Its ``name`` is ``'mmseg_ext'``.
    """
    problem = _environment_problem()
    if problem is not None:
        raise ImportError(problem, name='mmseg_ext')


def _environment_problem() -> Optional[str]:
    for module, distributions, allowed in REQUIREMENTS:
        how = BUILD_MMCV if module == 'mmcv' else f"pip install '{distributions[0]}{allowed}'"
        if importlib.util.find_spec(module) is None:
            return f'mmseg_ext needs {distributions[0]}{allowed}, which is not installed: {how}'
        version = _installed_version(distributions)
        if version is not None and not _version_in(version, allowed):
            return (f'mmseg_ext needs {distributions[0]}{allowed}, as mmsegmentation 1.x does, but '
                    f'{version} is installed: {how}')
    for module in UNDECLARED_REQUIREMENTS:
        if importlib.util.find_spec(module) is None:
            return (f'mmsegmentation imports {module} without declaring it, and it is not '
                    f"installed: pip install {' '.join(UNDECLARED_REQUIREMENTS)}")
    try:
        importlib.import_module('torch')  # the operators are linked against it
        importlib.import_module('mmcv._ext')
    except ModuleNotFoundError as error:
        if error.name != 'mmcv._ext':
            raise
        return ('mmcv is installed without its compiled operators, which mmsegmentation imports: '
                f'pip uninstall -y mmcv mmcv-lite, then {BUILD_MMCV}')
    except ImportError as error:
        return ("mmcv's compiled operators do not fit the installed torch "
                f'({str(error).splitlines()[0]}): pip uninstall -y mmcv, then {BUILD_MMCV}')
    return None


def _installed_version(distributions: Tuple[str, ...]) -> Optional[str]:
    """Version of the first distribution that is installed; None for a plain source folder."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _version_in(version: str, allowed: str) -> bool:
    from packaging.specifiers import SpecifierSet
    return SpecifierSet(allowed).contains(version, prereleases=True)


def check_config_inheritance() -> None:
    """Check that mmengine can find the installed package behind ``_base_ = 'mmseg::...'``.

    Otherwise raises an ImportError in one sentence: mmengine 0.10 asks ``pkg_resources`` for it,
    which setuptools no longer ships.
    """
    if importlib.util.find_spec('pkg_resources') is None:
        raise ImportError(
            "mmengine reads configs that inherit from an installed package ('mmseg::...') with "
            "pkg_resources, which the installed setuptools does not have: "
            "pip install 'setuptools<81'", name='mmseg_ext')


def allow_checkpoint_classes() -> None:
    """Let ``torch.load`` read what mmengine writes into a checkpoint, with ``weights_only`` on.

    From torch 2.6 on ``torch.load`` refuses every class it does not know. A checkpoint of
    mmengine holds ``HistoryBuffer`` objects and numpy numbers and arrays of numbers; these are
    allowed, under the module names of numpy 1 and numpy 2. The rest stays refused. May be called
    repeatedly. Older versions of torch need nothing and are left alone.

    Note:
        Neither ``builtins.getattr`` nor numpy's own functions are allowed, although checkpoints
        name them: with ``getattr`` a pickle reaches any function, with ``numpy.ndarray`` and
        ``numpy.dtype`` it turns bytes of the file into pointers to objects. Stand-ins under their
        names do only what an honest checkpoint asks for.
    """
    import torch
    if not _version_in(torch.__version__, '>=2.6'):
        return
    from mmengine.logging import HistoryBuffer
    allowed: List[Any] = [
        HistoryBuffer,
        bytes,  # an empty array
        (_get_statistic, 'builtins.getattr'),
        (_NumberType, 'numpy.dtype'),
        (_NumberArray, 'numpy.ndarray'),
    ]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed.append((_empty_array, f'{module}._reconstruct'))
        allowed.append((_number, f'{module}.scalar'))
    torch.serialization.add_safe_globals(allowed)


def _get_statistic(owner: Any, name: Any) -> Any:
    """Stand-in for ``getattr``: ``HistoryBuffer`` pickles its statistics as attributes of it."""
    from mmengine.logging import HistoryBuffer
    if owner is not HistoryBuffer or name not in HISTORY_BUFFER_STATISTICS:
        raise UnpicklingError(
            f'The checkpoint asks for the attribute {name!r} of {owner!r}; only '
            f"HistoryBuffer.{', HistoryBuffer.'.join(HISTORY_BUFFER_STATISTICS)} are allowed.")
    return getattr(HistoryBuffer, name)


class _NumberType:
    """Stand-in for ``numpy.dtype``: the type of a number, in either byte order.

    A real dtype takes any flags and fields from a pickle without checking them.
    """

    def __init__(self, name: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(name, str) or np.dtype(name).kind not in 'biufc':
            raise UnpicklingError(f'The checkpoint holds a numpy dtype {name!r}; only numbers are '
                                  'allowed.')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        version, order, *rest = state
        if version != 3 or order not in ('<', '>', '|') or rest != [None, None, None, -1, -1, 0]:
            raise UnpicklingError(f'The checkpoint changes the numpy dtype {self.dtype.str!r} to '
                                  f'{state!r}; only its byte order may be set.')
        self.dtype = self.dtype.newbyteorder(order)


class _NumberArray(np.ndarray):
    """Stand-in for ``numpy.ndarray``: an array of numbers, pickled again as a plain array."""

    def __new__(cls, *args: Any, **kwargs: Any) -> '_NumberArray':
        # Only _empty_array makes one: the real constructor reads pointers from a buffer.
        raise UnpicklingError('The checkpoint calls numpy.ndarray, which is not allowed.')

    def __setstate__(self, state: Any) -> None:
        version, shape, number_type, is_fortran, data = state
        super().__setstate__((version, shape, _dtype_of(number_type), is_fortran, data))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)


def _empty_array(subtype: Any, shape: Any, code: Any) -> _NumberArray:
    """Stand-in for ``numpy.core.multiarray._reconstruct``."""
    if subtype is not _NumberArray or shape != (0, ):
        raise UnpicklingError(f'The checkpoint makes a numpy array of type {subtype!r} and shape '
                              f'{shape!r}; only empty arrays to be filled are allowed.')
    return np.empty(0, np.uint8).view(_NumberArray)


def _number(number_type: Any, data: Any) -> Any:
    """Stand-in for ``numpy.core.multiarray.scalar``."""
    return np.frombuffer(data, _dtype_of(number_type), count=1)[0]


def _dtype_of(number_type: Any) -> np.dtype:
    if not isinstance(number_type, _NumberType):
        raise UnpicklingError(f'The checkpoint uses {number_type!r} as a numpy dtype.')
    return number_type.dtype


def is_compiling() -> bool:
    """Whether ``torch.compile`` is looking at the code, which then cannot ask for values."""
    import torch
    if hasattr(torch, 'compiler') and hasattr(torch.compiler, 'is_compiling'):  # torch 2.1
        return torch.compiler.is_compiling()
    return torch._dynamo.is_compiling()


def register_dynamic_fake(library: Any, name: str, fake: Callable) -> None:
    """Tell compilers the form of an op's results where a size depends on values.

    torch can be told so since 2.2. Before, a compiled graph ends in front of the op.
    """
    import torch
    for register in ('register_fake', 'impl_abstract'):  # torch 2.4, torch 2.2
        if hasattr(torch.library, register):
            getattr(torch.library, register)(name, fake, lib=library)
            return


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Have cuDNN convolve float32 as float32, not as TF32, which is its default."""
    from torch.backends import cudnn

    # From torch 2.9 on there are two switches. This one is obeyed, and the older cannot even be
    # read where the two disagree.
    switch, name, exact = cudnn, 'allow_tf32', False
    if hasattr(cudnn, 'conv'):
        switch, name, exact = cudnn.conv, 'fp32_precision', 'ieee'
    before = getattr(switch, name)
    # 'none' is exact too. It is left alone, for it also means that a wider setting is followed.
    if before not in (True, 'tf32'):
        yield
        return
    setattr(switch, name, exact)
    try:
        yield
    finally:
        setattr(switch, name, before)


def no_autocast(device_type: str) -> ContextManager[None]:
    """Compute in the types that the tensors on a device have, also under ``torch.autocast``.

    Does nothing where the device has no autocast, as ``'mps'`` before torch 2.5, where asking for
    it would raise.
    """
    import torch
    if hasattr(torch.amp, 'is_autocast_available'):  # torch 2.4
        available = torch.amp.is_autocast_available(device_type)
    else:
        available = device_type != 'mps'
    return torch.autocast(device_type, enabled=False) if available else nullcontext()
