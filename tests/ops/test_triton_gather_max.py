"""The Triton kernels against the reference: on a GPU, or on a CPU in Triton's interpreter.

The interpreter needs TRITON_INTERPRET=1 in the environment before Triton is imported.
"""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmseg_ext.ops import gather_max

pytest.importorskip('triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICES = ['cpu'] * INTERPRETED + ['cuda'] * torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# one; less than a warp's; no power of two; a block of 512; a block and a part of one
COLUMNS = [1, 16, 33, 512, 700]


@pytest.fixture(params=DEVICES or [None])
def device(request):
    if request.param is None:
        pytest.skip('needs a GPU or TRITON_INTERPRET=1')
    return request.param


@pytest.fixture(params=[False, True], ids=['atomic', 'deterministic'])
def deterministic(request):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(request.param)
    yield request.param
    torch.use_deterministic_algorithms(before)


def index(groups, device):
    indptr = torch.tensor([0, *np.cumsum([len(group) for group in groups])], device=device)
    flat = [i for group in groups for i in group]
    return indptr, torch.tensor(flat, dtype=torch.long, device=device)


def random_case(columns, device, dtype=torch.float64, ties=False):
    """Groups that overlap, repeat a row, have one member or none."""
    rng = np.random.default_rng(0)
    groups = [rng.integers(0, 11, size) for size in (3, 0, 1, 7, 0, 0, 12, 2)]
    source = torch.from_numpy(rng.standard_normal((11, columns)))
    source = (source.round() if ties else source).to(device, dtype)
    return (source, *index(groups, device))


def run(implementation, source, indptr, indices):
    """Output, and the gradient for whole numbers received, whose sums are exact in every type."""
    source = source.detach().requires_grad_()
    output = gather_max(source, indptr, indices, implementation=implementation)
    received = np.random.default_rng(1).integers(-4, 5, output.shape)
    gradient, = torch.autograd.grad(output, source, torch.from_numpy(received).to(output))
    return output.detach(), gradient


def check(*case):
    """Compare with the reference; returns output and gradient."""
    output, gradient = run('triton', *case)
    expected, expected_gradient = run('reference', *case)
    assert output.dtype == gradient.dtype == case[0].dtype
    torch.testing.assert_close(output, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=0)
    return output, gradient


@pytest.mark.parametrize('columns', COLUMNS)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('ties', [False, True], ids=['distinct', 'ties'])
def test_it_is_the_reference(device, ties, dtype, columns, deterministic):
    check(*random_case(columns, device, dtype, ties))


def test_by_hand(device, deterministic):
    source = torch.tensor([[1., 5.], [2., 4.], [3., 6.]], device=device, requires_grad=True)
    case = index([[0, 1], [], [2], [2, 0, 2]], device)
    output = gather_max(source, *case, implementation='triton')
    assert output.tolist() == [[2, 5], [0, 0], [3, 6], [3, 6]]
    received = torch.tensor([[1., 10.], [100., 100.], [2., 20.], [4., 40.]], device=device)
    output.backward(received)
    assert source.grad.tolist() == [[0, 10], [1, 0], [6, 60]]


def test_a_gradient_of_half_precision_is_summed_in_single(device, deterministic):
    # 2048 + 1 is 2048 in float16
    source = torch.ones(1, 1, device=device, dtype=torch.float16, requires_grad=True)
    output = gather_max(source, *index([[0]] * 9, device), implementation='triton')
    output.backward(torch.tensor([2048] + [1] * 8, device=device, dtype=torch.float16)[:, None])
    assert source.grad.item() == 2056


def test_nan_is_a_maximum_and_minus_infinity_a_value(device, deterministic):
    source = torch.tensor([[-torch.inf, 1.], [torch.nan, 2.], [-1., torch.nan]], device=device)
    groups = [[0], [0, 0], [0, 1], [1, 0], [2, 1, 2], [1, 2, 1], []]
    output, _ = check(source, *index(groups, device))
    assert output[:4, 0].isnan().tolist() == [False, False, True, True]


@pytest.mark.parametrize('rows, columns, groups', [
    (3, 5, [[], []]), (3, 5, []), (0, 5, [[]]), (0, 5, []), (3, 0, [[1]]), (0, 0, [])], ids=str)
def test_empty_inputs(device, rows, columns, groups, deterministic):
    output, gradient = check(torch.ones(rows, columns, device=device), *index(groups, device))
    assert output.shape == (len(groups), columns) and output.eq(0).all()
    assert gradient.shape == (rows, columns) and gradient.eq(0).all()


def test_views_and_smaller_integers(device):
    source, indptr, indices = random_case(33, device)
    expected, expected_gradient = run('triton', source, indptr, indices)
    output, gradient = run('triton', source.t().contiguous().t(), indptr.int(), indices.int())
    assert torch.equal(output, expected) and torch.equal(gradient, expected_gradient)
    # a received gradient without memory of its own
    source.requires_grad_()
    output = gather_max(source, indptr, indices, implementation='triton')
    gradient, = torch.autograd.grad(output.sum(), source)
    assert gradient.sum(dim=0).eq((indptr.diff() > 0).sum()).all()


def test_gradcheck(device, deterministic):
    source = torch.randn(3, 2, dtype=torch.float64, device=device, requires_grad=True)
    case = index([[2, 0], [], [1, 2, 0]], device)
    assert torch.autograd.gradcheck(
        lambda x: gather_max(x, *case, implementation='triton'), source)


# 2^40 as an address would end the process
@pytest.mark.parametrize('indptr, indices, message', [
    ([0, 2], [0, 3], 'rows of the source, 0 to 2'), ([0, 1], [-1], 'rows of the source'),
    ([0, 2], [2**40, 0], 'rows of the source'), ([0, 2**40], [0], 'number of indices, 1'),
    ([0, 1], [0, 1], 'number of indices, 2'), ([0, 2, 1, 2], [0, 1], 'rise from 0'),
    ([1, 2], [0, 1], 'rise from 0'), ([-2**40, 2], [0, 1], 'rise from 0')], ids=str)
@pytest.mark.skipif(not INTERPRETED, reason='needs TRITON_INTERPRET=1')
def test_an_index_that_leads_out_of_the_source_is_refused(indptr, indices, message):
    with pytest.raises(ValueError, match=message):
        gather_max(torch.zeros(3, 2), torch.tensor(indptr), torch.tensor(indices),
                   implementation='triton')


def run_python(code, **environment):
    """Run code in a process without the interpreter."""
    environment = {**os.environ, **environment, 'TRITON_INTERPRET': '0'}
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment)


@needs_gpu
def test_an_index_that_leads_out_of_the_source_is_asserted_on_a_gpu():
    process = run_python("""
import torch
from mmseg_ext.ops import gather_max
index = torch.tensor([0, 1], device='cuda'), torch.tensor([3], device='cuda')
gather_max(torch.zeros(3, 2, device='cuda'), *index)
torch.cuda.synchronize()
""")
    assert process.returncode != 0 and 'source, 0 to 2' in process.stderr + process.stdout


def test_the_kernels_compile_for_a_gpu(tmp_path):
    """The interpreter takes more than the compiler does, such as a name of two types."""
    process = run_python("""
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from mmseg_ext.ops.triton import gather_max as ops

# architecture; type of the source, of the sums, of sizes; columns; with winners written down
for target, dtype, sums, size, block, deterministic in (
        (70, 'fp16', 'fp32', 'i32', 64, True), (80, 'bf16', 'fp32', 'i64', 1, False),
        (90, 'fp64', 'fp64', 'i64', 64, True), (90, 'fp32', 'fp32', 'i32', 512, False)):
    types = dict(source=dtype, output=dtype, gradient=dtype, total=sums, wrong='i64',
                 indptr='i64', indices='i64', winners='i64')
    types = {name: '*' + type for name, type in types.items()}
    constants = dict(ACC=tl.float64 if sums == 'fp64' else tl.float32, BLOCK=block)
    constants.update({} if deterministic else dict(winners=None))
    for kernel in (ops._forward_kernel, ops._backward_kernel):
        own = {name: value for name, value in constants.items() if name in kernel.arg_names}
        signature = {name: 'constexpr' if name in own else types.get(name, size)
                     for name in kernel.arg_names}
        source = triton.compiler.ASTSource(kernel, signature, own)
        compiled = triton.compile(source, target=GPUTarget('cuda', target, 32))
        ptx = compiled.asm['ptx']
        assert ('red.global' in ptx or 'atom.global' in ptx) == (
            kernel is ops._backward_kernel and not deterministic)
        print(len(compiled.asm['cubin']))
""", TRITON_CACHE_DIR=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.split()) == 8


def test_no_variant_is_compiled_for_the_numbers_of_entries_and_rows():
    """Of each there would be one for 1, one for multiples of 16 and one for the rest."""
    process = run_python("""
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import create_function_from_signature
from mmseg_ext.ops.triton.gather_max import _forward_kernel as kernel

bind = create_function_from_signature(
    kernel.signature, kernel.params, make_backend(GPUTarget('cuda', 90, 32)))
floats, integers = torch.zeros(64), torch.zeros(64, dtype=torch.long)


def variant(entries, size, columns):
    _, specialization, _ = bind(floats, integers, integers, floats, integers, entries, size,
                                columns, ACC=None, BLOCK=16)
    return str(specialization)


numbers = (1, 16, 17)
print(len({variant(entries, size, 512) for entries in numbers for size in numbers}))
print(len({variant(16, 16, columns) for columns in numbers}))
""")
    assert process.returncode == 0, process.stderr
    # by columns the loads are made wide, or not
    assert process.stdout.split() == ['1', '3']


def test_the_kernels_are_registered_and_wait_for_their_first_call():
    process = run_python("""
import sys
import torch
import mmseg_ext.ops.triton
for name in ('gather_max', 'gather_max_backward'):
    assert torch._C._dispatch_has_kernel_for_dispatch_key('mmseg_ext::' + name, 'CUDA')
assert 'mmseg_ext.ops.triton.gather_max' not in sys.modules
""")
    assert process.returncode == 0, process.stderr


@needs_gpu
def test_the_dispatcher_calls_them_on_a_gpu():
    import mmseg_ext.ops.triton  # noqa: F401
    source, indptr, indices = random_case(20, 'cuda')
    ops = torch.ops.mmseg_ext
    output = ops.gather_max(source, indptr, indices)
    assert torch.equal(output, gather_max(source, indptr, indices, implementation='reference'))
    torch.library.opcheck(ops.gather_max.default,
                          (source.clone().requires_grad_(), indptr, indices))
    torch.library.opcheck(ops.gather_max_backward.default,
                          (torch.ones_like(output), source, output, indptr, indices))


@needs_gpu
@pytest.mark.parametrize('deterministic', [True], indirect=True)
def test_where_it_is_demanded_equal_inputs_give_equal_bits(deterministic):
    source = torch.randn(50, 512, device='cuda', requires_grad=True)
    rng = np.random.default_rng(0)
    case = index([rng.integers(0, 50, 20) for _ in range(3000)], 'cuda')
    received = torch.randn(3000, 512, device='cuda')
    gradients = [torch.autograd.grad(gather_max(source, *case), source, received)[0]
                 for _ in range(5)]
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


@needs_gpu
def test_nothing_waits_for_the_gpu():
    source, indptr, indices = random_case(20, 'cuda')
    run('triton', source, indptr, indices)  # compiles
    torch.cuda.set_sync_debug_mode('error')
    try:
        output = gather_max(source.requires_grad_(), indptr, indices)
        torch.autograd.grad(output, source, torch.ones_like(output))
    finally:
        torch.cuda.set_sync_debug_mode('default')


@needs_gpu
def test_offsets_of_more_than_31_bits():
    rows, columns = 2**21 + 1, 1024  # the last row begins at 2^31
    source = torch.zeros(rows, columns, dtype=torch.float16, device='cuda')
    source[-1] = torch.arange(columns)
    output, gradient = run('triton', source, *index([[0, rows - 1], [rows - 1]], 'cuda'))
    assert torch.equal(output, source[-1].expand(2, -1))
    assert gradient[1:-1].count_nonzero() == 0 and gradient[-1].count_nonzero() > 0
