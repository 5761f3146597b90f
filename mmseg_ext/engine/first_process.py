"""Work that the first of several processes does for all, however long it takes."""
import itertools
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Callable

from mmengine.dist import get_rank, get_world_size

if TYPE_CHECKING:  # not in every build of PyTorch
    from torch.distributed import Store

#: Seconds between two looks.
INTERVAL = 0.2
#: Seconds that a failed first process stays for the others to read why.
FAREWELL = 10.
# Every process does the same works in the same order, so they agree on these numbers.
_NUMBERS = itertools.count()
DONE, FAILED = b'1', b'0'


def from_first_process(work: Callable[[], bytes], what: str, limit: timedelta) -> bytes:
    """Do some work in the first process and give its result, at most some megabytes, to all.

    A collective such as ``broadcast`` would end after nccl's 10 minutes while the first process is
    still at work, and would hang when that process fails. Here the others look into the store that
    the processes met by, which has no such limit. It needs no shared folder.

    In the other processes a failure of ``work`` is a RuntimeError with its message, and a result
    that does not come within ``limit`` a TimeoutError. ``what`` names the result in both, such as
    ``'the semantic edge network'``.
    """
    if get_world_size() == 1:
        return work()
    from torch.distributed.distributed_c10d import _get_default_store
    key = f'mmseg_ext/first_process/{next(_NUMBERS)}'
    if get_rank() == 0:
        return tell(_get_default_store(), key, work, get_world_size() - 1)
    return hear(_get_default_store(), key, what, limit)


def tell(store: 'Store', key: str, work: Callable[[], bytes], others: int) -> bytes:
    """Do the work of the first process and put its result, or its error, into the store."""
    try:
        result = work()
    except BaseException as error:  # raised again below; without it the others wait for ever
        store.set(key, FAILED + f'{type(error).__name__}: {error}'.encode())
        # the store may live in this process: do not take it away before the others have read
        end = time.monotonic() + FAREWELL
        while store.add(key + '/heard', 0) < others and time.monotonic() < end:
            time.sleep(INTERVAL)
        raise
    store.set(key, DONE + result)
    return result


def hear(store: 'Store', key: str, what: str, limit: timedelta) -> bytes:
    """Wait for the result of the first process, and raise if it failed."""
    end = time.monotonic() + limit.total_seconds()
    while not store.check([key]):
        if time.monotonic() > end:
            raise TimeoutError(f'Process 0 has not made {what} in {limit}. Its log says how far it '
                               'is.')
        time.sleep(INTERVAL)
    answer = store.get(key)
    store.add(key + '/heard', 1)
    if answer[:1] == FAILED:
        raise RuntimeError(f'Process 0 could not make {what}: {answer[1:].decode()}')
    return answer[1:]
