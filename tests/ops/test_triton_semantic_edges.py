"""The Triton kernel against the reference: on a GPU, or on a CPU in Triton's interpreter.

The interpreter needs TRITON_INTERPRET=1 in the environment before Triton is imported.
"""
import os
import subprocess
import sys

import pytest
import torch

from mmseg_ext.ops import semantic_edges

pytest.importorskip('triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICES = ['cpu'] * INTERPRETED + ['cuda'] * torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

DTYPES = [torch.uint8, torch.int16, torch.int32, torch.int64]
# a pixel, a row, a column, no power of two, a block of 1024 and a part of one
SHAPES = [(1, 1, 1), (2, 1, 6), (2, 6, 1), (3, 5, 7), (1, 3, 1030)]


@pytest.fixture(params=DEVICES or [None])
def device(request):
    if request.param is None:
        pytest.skip('needs a GPU or TRITON_INTERPRET=1')
    return request.param


def random_labels(shape, device, dtype=torch.int64):
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(shape, generator=generator) < 0.2).long()
    labels[torch.rand(shape, generator=generator) < 0.3] = 255
    return labels.to(device, dtype)


def check(labels, ignore_index=255):
    edges = semantic_edges(labels, ignore_index, implementation='triton')
    assert edges.dtype == torch.bool
    assert torch.equal(edges, semantic_edges(labels, ignore_index, implementation='reference'))
    return edges


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_it_is_the_reference(device, dtype, shape):
    check(random_labels(shape, device, dtype))


def test_by_hand(device):
    labels = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 0], [9, 0, 0, 0], [1, 0, 0, 0]]], device=device)
    assert check(labels, ignore_index=9)[0].int().tolist() == [
        [0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize('ignore_index', [1, -1, 256, 2**32, 2**32 + 255])
@pytest.mark.parametrize('dtype', DTYPES[:3], ids=str)
def test_an_ignored_number_is_not_cut_off(device, dtype, ignore_index):
    assert check(random_labels((2, 5, 7), device, dtype), ignore_index).any()


def test_labels_of_64_bits(device):
    labels = random_labels((2, 5, 7), device)
    assert torch.equal(check(labels * 2**32, 255 * 2**32), check(labels))


def test_views(device):
    labels = random_labels((2, 4, 7), device)
    for view in (labels.mT, labels[::2], labels[:, 1:-1, 2:-3], labels.bool()):
        check(view)


@pytest.mark.parametrize('shape', [(0, 3, 4), (2, 0, 4), (2, 3, 0)], ids=str)
def test_empty_inputs(device, shape):
    assert check(torch.zeros(shape, device=device).long()).shape == shape


def run_python(code, **environment):
    """Run code in a process without the interpreter."""
    environment = {**os.environ, **environment, 'TRITON_INTERPRET': '0'}
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment)


def test_the_kernel_compiles_for_a_gpu(tmp_path):
    """The interpreter takes more than the compiler does, such as a name of two types."""
    process = run_python("""
import triton
from triton.backends.compiler import GPUTarget
from mmseg_ext.ops.triton.semantic_edges import _kernel as kernel

# architecture; type of the labels, of the ignored one; columns
for target, dtype, ignored, block in ((70, 'u8', 'i32', 1), (90, 'i64', 'i64', 1024)):
    types = dict(labels='*' + dtype, edges='*u8', ignored=ignored, BLOCK='constexpr')
    signature = {name: types.get(name, 'i32') for name in kernel.arg_names}
    source = triton.compiler.ASTSource(kernel, signature, dict(BLOCK=block))
    print(len(triton.compile(source, target=GPUTarget('cuda', target, 32)).asm['cubin']))
""", TRITON_CACHE_DIR=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.split()) == 2


def test_the_kernel_is_registered_and_waits_for_its_first_call():
    process = run_python("""
import sys
import torch
import mmseg_ext.ops.triton
assert torch._C._dispatch_has_kernel_for_dispatch_key('mmseg_ext::semantic_edges', 'CUDA')
assert 'mmseg_ext.ops.triton.semantic_edges' not in sys.modules
""")
    assert process.returncode == 0, process.stderr


@needs_gpu
def test_the_dispatcher_calls_it_on_a_gpu():
    labels = random_labels((2, 5, 7), 'cuda')
    expected = semantic_edges(labels, implementation='reference')
    assert torch.equal(torch.ops.mmseg_ext.semantic_edges(labels, 255), expected)
    torch.library.opcheck(torch.ops.mmseg_ext.semantic_edges.default, (labels, 255))


@needs_gpu
def test_offsets_of_more_than_31_bits():
    labels = torch.zeros(3, 2**15, 2**15, dtype=torch.uint8, device='cuda')
    labels[2, -1, -1] = 1
    edges = semantic_edges(labels, implementation='triton')
    assert edges.sum() == 4 and edges[2, -2:, -2:].all()
