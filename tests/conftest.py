import os
import socket
import subprocess
import sys

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def mmseg_scope():
    """Names mean what they mean in a config of mmseg, as when the Runner builds them.

    Without a scope 'LoadAnnotations' is mmcv's. What a test sets ends with it.
    """
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def run_in_two_processes():
    """Run a Python file as the two processes of a group: ``run(file, *arguments)``.

    The file joins the group by ``torch.distributed.init_process_group('gloo')`` and registers
    ``mmseg_ext.engine.cpu_training.leave_process_group`` with ``atexit``; left alone, gloo's
    threads may abort a process whose work is done. Gives the outputs of both; ``codes`` are the
    expected exit codes.
    """
    def run(file, *arguments, codes=(0, 0), timeout=120):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        processes = [subprocess.Popen(
            [sys.executable, '-W', 'ignore', str(file), *map(str, arguments)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, 'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2',
                 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'OMP_NUM_THREADS': '1',
                 'CUDA_VISIBLE_DEVICES': ''}) for rank in range(2)]
        try:
            outputs = [process.communicate(timeout=timeout)[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
        ended = [process.returncode for process in processes]
        assert ended == list(codes), '\n'.join(outputs)[-3000:]
        return outputs

    return run
