import itertools
import threading
import time
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from mmseg_ext.engine import first_process
from mmseg_ext.engine.first_process import from_first_process, hear, tell

SOON, LATE = timedelta(seconds=0.5), timedelta(seconds=30)


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(first_process, 'INTERVAL', 0.01)


def hear_in_threads(store, number):
    """Start processes that wait, as threads; gives them and what each heard."""
    heard = []

    def wait():
        try:
            heard.append(hear(store, 'key', 'the thing', LATE))
        except RuntimeError as error:
            heard.append(str(error))

    threads = [threading.Thread(target=wait) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads, heard


def test_one_process_does_the_work_itself():
    assert from_first_process(lambda: b'result', 'the thing', SOON) == b'result'


def test_the_others_wait_and_get_the_result():
    store = HashStore()
    threads, heard = hear_in_threads(store, 2)

    def work():
        time.sleep(0.1)
        assert not heard
        return b'\x00\xffresult'

    assert tell(store, 'key', work, others=2) == b'\x00\xffresult'
    for thread in threads:
        thread.join()
    assert heard == [b'\x00\xffresult'] * 2


def test_an_error_ends_all_and_the_first_process_stays_until_they_have_read_it(monkeypatch):
    monkeypatch.setattr(first_process, 'FAREWELL', 30.)
    store, end = HashStore(), time.monotonic() + 20
    threads, heard = hear_in_threads(store, 2)

    def work():
        raise OSError('no space')

    with pytest.raises(OSError, match='no space'):
        tell(store, 'key', work, others=2)
    assert store.add('key/heard', 0) == 2
    for thread in threads:
        thread.join()
    assert heard == ['Process 0 could not make the thing: OSError: no space'] * 2
    assert time.monotonic() < end


def test_the_first_process_does_not_stay_for_others_that_are_gone(monkeypatch):
    monkeypatch.setattr(first_process, 'FAREWELL', 0.1)
    with pytest.raises(ZeroDivisionError):
        tell(HashStore(), 'key', lambda: 1 / 0, others=1)


def test_the_others_do_not_wait_for_ever():
    with pytest.raises(TimeoutError, match='has not made the thing in 0:00:00.5.*Its log says'):
        hear(HashStore(), 'key', 'the thing', SOON)


def test_two_works_of_one_name_have_results_of_their_own(monkeypatch):
    store = HashStore()
    monkeypatch.setattr(first_process, 'get_world_size', lambda: 2)
    monkeypatch.setattr('torch.distributed.distributed_c10d._get_default_store', lambda: store)
    for rank in (0, 1):  # in turn, each from the start, as in processes of their own
        monkeypatch.setattr(first_process, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setattr(first_process, '_NUMBERS', itertools.count())
        assert [from_first_process(lambda result=result: result, 'the thing', SOON)
                for result in (b'first', b'second')] == [b'first', b'second']
