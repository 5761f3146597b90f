"""The only module that knows about versions of torch, mmengine, mmcv and mmsegmentation.

It can be imported without any of them, so that what is missing is reported in a sentence.
"""
import atexit
import datetime
import gc
import importlib
import importlib.util
import logging
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pickle import UnpicklingError
from typing import Any, ContextManager, Iterator, List, Optional, Tuple

import numpy as np

from .tools import tool_command

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


def replace_sync_batch_norm(cfg: Any) -> None:
    """On a machine without accelerator, turn synchronised batch norm in a config into ``BN``.

    Synchronised batch norm exists for GPUs alone, and every model of mmsegmentation asks for it.
    Says so once in the log.

    Args:
        cfg (mmengine.Config): Changed in place; ``sync_bn``, which makes mmengine convert batch
            norm the other way, is switched off too.
    """
    from mmengine.device import get_device
    from mmengine.logging import print_log
    if get_device() != 'cpu':
        return
    found = [node for node in _dicts_in(cfg) if _is_sync_batch_norm(node.get('type'))]
    for node in found:
        node['type'] = 'BN'
    if found or cfg.get('sync_bn'):
        cfg.sync_bn = None
        print_log('No GPU: SyncBN in the config is replaced by BN; each process normalises with '
                  'the statistics of its own images.', logger='current', level=logging.WARNING)


def _is_sync_batch_norm(layer: Any) -> bool:
    # A layer is named by its registered name, a scoped name ('mmcv.SyncBN') or its class.
    name = layer if isinstance(layer, str) else getattr(layer, '__name__', '')
    return name.split('.')[-1] in ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')


def _dicts_in(node: Any) -> Iterator[Any]:
    if hasattr(node, 'items'):
        yield node
        node = [child for _, child in node.items()]
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _dicts_in(child)


def prepare_distributed(cfg: Any) -> None:
    """On a machine without accelerator, make ``--launcher pytorch`` run over gloo.

    mmengine picks a GPU before it joins the process group, and hands one to
    ``DistributedDataParallel``. So the group is joined here, before the runner is made, and the
    wrapper of the model is told to use none.

    Args:
        cfg (mmengine.Config): Changed in place: ``env_cfg.dist_cfg.backend`` and
            ``model_wrapper_cfg``. ``env_cfg.dist_cfg.timeout`` (seconds), ``model_wrapper_cfg``
            and ``find_unused_parameters`` keep their meaning.

    Raises:
        ValueError: Another launcher than ``'none'`` or ``'pytorch'`` without accelerator.
    """
    import torch.distributed
    from mmengine.device import get_device
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        command = tool_command('dist_train.sh', 'CONFIG', 'PROCESSES')
        raise ValueError(f"launcher '{launcher}' needs a GPU in mmengine; without one use "
                         f"launcher 'pytorch', for example with {command}")

    # Without a wrapper of its own a config gets mmengine's defaults for these two.
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False))
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    wrapper['device_ids'] = None
    cfg.model_wrapper_cfg = wrapper

    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    if not torch.distributed.is_initialized():
        timeout = cfg.env_cfg.dist_cfg.get('timeout')
        options = {} if timeout is None else dict(timeout=datetime.timedelta(seconds=timeout))
        torch.distributed.init_process_group('gloo', **options)
        atexit.register(leave_process_group)


def leave_process_group() -> None:
    """Leave the process group and wait for its threads; nothing where there is no group.

    A thread of gloo drops the tensors of an operation after it has reported the operation as
    done. A tensor that only this thread still has needs the lock of the interpreter for that; if
    the interpreter is ending by then, Python ends the thread inside a C++ destructor, and the
    process aborts ("terminate called without an active exception") although its work is done.
    The destructor of the group waits for its threads, and runs when the last reference goes.

    Note:
        To be called when nothing refers to the group any more, such as a model that is wrapped
        in ``DistributedDataParallel``. A group that is still in use is left without waiting.
    """
    import torch.distributed
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # First what refers to the group in circles (a runner and its model): the last reference
        # must be the group's own, which gives up the lock of the interpreter while it waits.
        gc.collect()
        torch.distributed.destroy_process_group()


def is_compiling() -> bool:
    """Whether ``torch.compile`` is looking at the code, which then cannot ask for values."""
    import torch
    if hasattr(torch, 'compiler') and hasattr(torch.compiler, 'is_compiling'):  # torch 2.1
        return torch.compiler.is_compiling()
    return torch._dynamo.is_compiling()


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
