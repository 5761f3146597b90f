"""Calls every op with valid, odd and wrong arguments: the script of test_hostile_arguments.py.

    python tests/ops/hostile_calls.py REPORT SEED FIRST LAST NAME...

makes the calls FIRST to LAST - 1 of each target and writes what became of them to the file REPORT
(JSON) and, before each call, its target and number to REPORT.now: where the process dies, they name
the call, which `hostile_calls.py REPORT SEED NUMBER NUMBER+1 NAME` makes again.

Arguments lie at the end of a mapping, in front of a page that cannot be read, or at its beginning,
behind such a page: a kernel that leaves its arguments dies instead of reading memory of others.
"""
import ctypes
import functools
import json
import mmap
import os
import random
import resource
import sys
import time
import warnings
import zlib

import numpy as np
import torch
from hostile_samples import FLOATS, WITH_IMPLEMENTATIONS, target

#: What may be raised. Others (MemoryError, SystemError, AttributeError, ...) are no sentences.
EXPECTED = (ValueError, RuntimeError, TypeError, IndexError)
DTYPES = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
          torch.complex64)
HOSTILE_INTS = (-1, 0, 1, 2, 7, 255, (1 << 31) - 1, 1 << 31, 1 << 33, 1 << 62,
                (1 << 63) - 1, -(1 << 63), 1 << 70)
HOSTILE_FLOATS = (-1., 0., 0.5, 1., 2., 1e-30, 1e30, float('nan'), float('inf'), -float('inf'))


# ---------------------------------------------------------------- memory between guard pages


class Guarded:
    """Memory in slots of some pages, each between two pages that cannot be touched."""

    def __init__(self, slots=64, pages=4):
        page = mmap.PAGESIZE
        self.slots, self.size, self.next = slots, pages * page, 0
        self.step = self.size + page
        self.memory = mmap.mmap(-1, slots * self.step + page)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None, use_errno=True)
        for slot in range(slots + 1):
            where = ctypes.c_void_p(self.address + slot * self.step)
            if libc.mprotect(where, ctypes.c_size_t(page), 0) != 0:  # PROT_NONE
                raise OSError(ctypes.get_errno(), 'mprotect')

    def place(self, tensor, at_end):
        """Copy a tensor, with its strides, to the end (or beginning) of a slot."""
        extent = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride()))
        size = extent * tensor.element_size()
        if tensor.numel() == 0 or size > self.size:
            return tensor
        self.next = (self.next + 1) % self.slots
        offset = self.next * self.step + mmap.PAGESIZE + (self.size - size if at_end else 0)
        memory = torch.frombuffer(self.memory, dtype=tensor.dtype, count=extent, offset=offset)
        memory.copy_(tensor.detach().as_strided((extent, ), (1, )))
        placed = memory.as_strided(tensor.shape, tensor.stride())
        return placed.requires_grad_() if tensor.requires_grad else placed


GUARDED = Guarded()


def each_tensor(value, change):
    """Apply a function to all tensors in a nest of lists and tuples."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(each_tensor(x, change) for x in value))
    if isinstance(value, (list, tuple)):
        return type(value)(each_tensor(x, change) for x in value)
    if isinstance(value, dict):
        return {name: each_tensor(x, change) for name, x in value.items()}
    return value


# ---------------------------------------------------------------- wrong arguments


def break_tensor(r, x):
    """Give a tensor that differs in its type, shape, strides or numbers."""
    if x.device.type == 'meta' or x.numel() > 1 << 16:  # broken before
        return x
    kind = r.choice(('type', 'rank', 'short', 'short', 'long', 'strides', 'value', 'value', 'value',
                     'fill', 'empty', 'transposed', 'expanded', 'byte', 'none', 'meta', 'huge'))
    dim = r.randrange(x.ndim) if x.ndim else None
    if kind == 'type':
        return x.to(r.choice(DTYPES))
    if kind == 'rank':
        return r.choice((x[None], x.flatten(), x[0] if x.ndim and len(x) else x[..., None]))
    if kind == 'none':
        return r.choice((None, 3, 'x', [1, 2], x.tolist() if x.numel() < 20 else 0.5))
    if kind == 'meta':
        return x.to('meta') if r.random() < 0.3 else x
    if kind == 'byte' and x.dtype == torch.bool:  # a bool made from other memory
        return torch.full(x.shape, r.randint(2, 255), dtype=torch.uint8).view(torch.bool)
    if kind == 'fill' and x.dtype != torch.bool:
        return torch.full_like(x, clipped(r, x.dtype))
    if dim is None:
        return x.reshape(-1)
    if kind == 'short':
        return x.narrow(dim, 0, r.randint(0, x.size(dim) - 1)) if x.size(dim) else x
    if kind == 'long':
        return torch.cat([x, x], dim=dim) if r.random() < 0.5 else torch.cat(
            [x, x.narrow(dim, 0, min(1, x.size(dim)))], dim=dim)
    if kind == 'empty':
        return x.narrow(dim, 0, 0)
    if kind == 'strides':
        return torch.stack([x, x], dim=-1)[..., 0]
    if kind == 'transposed':
        return x.transpose(0, -1) if r.random() < 0.5 else x.transpose(0, -1).contiguous(
            ).transpose(0, -1)
    if kind == 'expanded' and x.size(dim):
        return x.narrow(dim, 0, 1).expand(x.shape)
    if kind == 'huge' and x.size(dim) and r.random() < 0.2:
        return x.narrow(dim, 0, 1).expand(
            [(1 << 29) if i == dim else n for i, n in enumerate(x.shape)])
    if x.numel() and x.dtype != torch.bool:
        x = x.detach().clone()
        x[tuple(r.randrange(n) for n in x.shape)] = clipped(r, x.dtype)
    return x


def clipped(r, dtype):
    """A number that means trouble, of the type."""
    if dtype.is_floating_point or dtype.is_complex:
        return r.choice([x for x in HOSTILE_FLOATS
                         if dtype != torch.float16 or not 1e4 < abs(x) < 1e38])
    info = torch.iinfo(dtype)
    return r.choice([x for x in (-2, *HOSTILE_INTS, info.min, info.max)
                     if info.min <= x <= info.max])


def break_array(r, x):
    """The same of a numpy array."""
    kind = r.choice(('type', 'rank', 'short', 'value', 'value', 'strides', 'tensor', 'order'))
    if kind == 'type':
        return x.astype(r.choice((np.float32, np.int64, np.uint8, np.int32, bool, object)))
    if kind == 'rank':
        return r.choice((x[None], x[:1].sum(axis=0), x.ravel()))
    if kind == 'short':
        return x[:r.randrange(len(x) or 1)]
    if kind == 'strides' and x.ndim > 1:
        return x[::-1, ::-1]
    if kind == 'tensor' and x.dtype != object:
        return torch.from_numpy(x.copy())
    if kind == 'order':
        return np.asfortranarray(x)
    x = x.copy()
    if x.dtype.kind not in 'iu' or x.size == 0:  # broken before
        return x
    info = np.iinfo(x.dtype)
    x.flat[r.randrange(x.size)] = r.choice((info.min, info.max, 0, 1, 99))
    return x


def break_value(r, x):
    """Give another value than a valid one."""
    if isinstance(x, torch.Tensor):
        return break_tensor(r, x)
    if isinstance(x, np.ndarray):
        return break_array(r, x)
    if isinstance(x, dict):
        name = r.choice(list(x))
        return {**x, name: break_value(r, x[name])}
    if isinstance(x, (list, tuple)):
        items = list(x)
        kind = r.choice(('item', 'item', 'item', 'less', 'more', 'none'))
        if kind == 'none' or not items:
            return r.choice((None, [], (), [None], 3, [torch.zeros(2)]))
        where = r.randrange(len(items))
        if kind == 'less':
            del items[where]
        elif kind == 'more':
            items.insert(where, items[where])
        else:
            items[where] = break_value(r, items[where])
            if hasattr(x, '_fields'):
                return type(x)(*items)
        return type(x)(items) if type(x) in (list, tuple) else tuple(items)
    return r.choice((*HOSTILE_INTS, *HOSTILE_FLOATS, None, 'x', True, [], [1, 2], torch.ones(1)))


# ---------------------------------------------------------------- the calls


@functools.lru_cache(1)
def valid_arguments(name, seed):
    """Valid arguments. Several calls break the same ones, as to make them takes longest."""
    r = random.Random(f'{seed} {name}')
    torch.manual_seed(r.getrandbits(32))
    return target(name)[1](r)


def arguments_of(name, seed, number):
    """The arguments of a call: valid ones, of which none, one or two are broken."""
    r = random.Random(zlib.crc32(f'{seed} {name} {number}'.encode()))
    arguments = dict(valid_arguments(name, f'{seed} {number // 8}'))
    if name in WITH_IMPLEMENTATIONS:
        arguments['implementation'] = r.choice((None, None, 'reference', 'cpp'))
    for _ in range(r.choice((0, 0, 1, 1, 1, 1, 2))):
        if arguments:
            arguments = break_value(r, arguments)
    if r.random() < 0.2:  # through autograd
        arguments = each_tensor(arguments, lambda x: x.detach().requires_grad_()
                                if x.is_floating_point() and r.random() < 0.5 else x)
    at_end = r.random() < 0.75
    return each_tensor(arguments, lambda x: GUARDED.place(x, at_end) if x.device.type == 'cpu'
                       else x), r


def results_of(value):
    """All tensors of a result."""
    tensors = []
    each_tensor(value, lambda x: tensors.append(x))
    return tensors


def same(a, b):
    """Whether two results are the same, NaN included."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def call(name, seed, number, libc):
    """Make a call.

    Returns:
        str: 'fine', 'refused', or what is wrong.
    """
    function = target(name)[0]
    arguments, r = arguments_of(name, seed, number)
    try:
        result = function(**arguments)
        for tensor in results_of(result):
            if tensor.requires_grad and tensor.device.type == 'cpu':
                tensor.sum().backward()
                break
    except EXPECTED as error:
        return 'refused' if str(error) else f'{type(error).__name__} without a sentence'
    except Exception as error:  # noqa: BLE001 - told below, and the test fails
        return f'{type(error).__name__}: {error}'
    on_cpu = all(x.device.type == 'cpu' for x in results_of(result))
    if name.startswith('raw ') and on_cpu and r.random() < 0.3:
        # what is read of fresh memory, or of memory of others, is now another byte
        libc.mallopt(-6, r.randint(1, 255))  # M_PERTURB
        again = function(**arguments)
        if not all(map(same, results_of(result), results_of(again))):
            return 'another result from the same arguments: it depends on memory of others'
    return 'fine'


def main(report, seed, first, last, *names):
    """Make calls of some targets and write what became of them."""
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    # a wild size is to fail at once and not to fill the memory
    with open('/proc/self/statm') as file:
        size = int(file.read().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (size + (384 << 20), ) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # a call that hangs is to die too; seconds of the processor, as the machine may have others
    resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
    libc = ctypes.CDLL(None)
    now = os.open(report + '.now', os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    results = {}
    for name in names:
        start = time.perf_counter()
        outcomes = results[name] = dict(fine=0, refused=0, wrong=[])
        for number in range(int(first), int(last)):
            os.pwrite(now, f'{number:9d} {name:60s}'.encode(), 0)
            outcome = call(name, seed, number, libc)
            if outcome in ('fine', 'refused'):
                outcomes[outcome] += 1
            else:
                outcomes['wrong'].append([number, outcome])
        outcomes['seconds'] = time.perf_counter() - start
        with open(report, 'w') as file:
            json.dump(results, file)


if __name__ == '__main__':
    main(*sys.argv[1:])
