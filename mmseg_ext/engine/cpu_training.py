"""What training without a GPU needs: batch norm of one process, processes that meet over gloo."""
import atexit
import datetime
import gc
import logging
from typing import Any, Iterator

import torch.distributed
from mmengine import Config
from mmengine.device import get_device
from mmengine.logging import print_log

from ..tools import tool_command


def replace_sync_batch_norm(cfg: Config) -> None:
    """On a machine without accelerator, turn synchronised batch norm in a config into ``BN``.

    Synchronised batch norm exists for GPUs alone, and every model of mmsegmentation asks for it.
    Says so once in the log.

    Args:
        cfg (Config): Changed in place; ``sync_bn``, which makes mmengine convert batch norm the
            other way, is switched off too.
    """
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


def prepare_distributed(cfg: Config) -> None:
    """On a machine without accelerator, make ``--launcher pytorch`` run over gloo.

    mmengine picks a GPU before it joins the process group, and hands one to
    ``DistributedDataParallel``. So the group is joined here, before the runner is made, and the
    wrapper of the model is told to use none.

    Args:
        cfg (Config): Changed in place: ``env_cfg.dist_cfg.backend`` and ``model_wrapper_cfg``.
            ``env_cfg.dist_cfg.timeout`` (seconds), ``model_wrapper_cfg`` and
            ``find_unused_parameters`` keep their meaning.

    Raises:
        ValueError: Another launcher than ``'none'`` or ``'pytorch'`` without accelerator.
    """
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
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # First what refers to the group in circles (a runner and its model): the last reference
        # must be the group's own, which gives up the lock of the interpreter while it waits.
        gc.collect()
        torch.distributed.destroy_process_group()
