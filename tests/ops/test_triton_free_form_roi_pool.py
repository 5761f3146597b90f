"""The Triton kernels against the reference: on a GPU, or on a CPU in Triton's interpreter.

The interpreter needs TRITON_INTERPRET=1 in the environment before Triton is imported.
"""
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmseg_ext.ops import free_form_roi_pool

pytest.importorskip('triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICES = ['cpu'] * INTERPRETED + ['cuda'] * torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
# Map, grid, positions per pixel (y, x): unequal sides; more bins than positions
SETTINGS = [((4, 7), (2, 3), (1 / 8, 1 / 4)), ((3, 3), (4, 2), (1 / 16, 1 / 16))]


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


def random_case(setting, device, dtype=torch.float64, channels=3, masked=True, ties=False):
    """Two images, four boxes that may leave the map, masks of which one is empty and one full."""
    (height, width), size, scale = setting
    rng = np.random.default_rng(0)
    input = rng.integers(-16, 17, (2, channels, height, width))
    input = torch.from_numpy(input // 8 if ties else input / 8).to(device, dtype)
    x, y = (np.sort(rng.integers(-9, side / s + 9, (4, 2)), axis=1)
            for side, s in ((width, scale[1]), (height, scale[0])))
    rois = np.column_stack([[0, 1, 1, 0], x[:, 0], y[:, 0], x[:, 1], y[:, 1]])
    masks = torch.from_numpy(rng.random((4, height, width)) < 0.6)
    masks[1], masks[2] = False, True
    return (input, torch.from_numpy(rois).float().to(device), masks.to(device) if masked else None,
            size, scale)


def run(implementation, input, rois, masks, size, scale, **options):
    """Output, and the gradient for whole numbers received, whose sums are exact in every type."""
    input = input.detach().requires_grad_()
    output = free_form_roi_pool(
        input, rois, masks, size, scale, implementation=implementation, **options)
    received = np.random.default_rng(1).integers(-4, 5, output.shape)
    gradient, = torch.autograd.grad(output, input, torch.from_numpy(received).to(output))
    return output.detach(), gradient


def check(*case, **options):
    """Compare with the reference; returns output and gradient."""
    output, gradient = run('triton', *case, **options)
    expected, expected_gradient = run('reference', *case, **options)
    assert output.dtype == gradient.dtype == case[0].dtype and output.is_contiguous()
    torch.testing.assert_close(output, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=0)
    return output, gradient


@pytest.mark.parametrize('bins', ['mmcv', 'calvin'])
@pytest.mark.parametrize('masked', [True, False], ids=['masks', 'boxes'])
@pytest.mark.parametrize('setting', SETTINGS, ids=str)
def test_it_is_the_reference(device, setting, masked, bins, deterministic):
    check(*random_case(setting, device, masked=masked, ties=True), bins=bins)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
# one; no power of two; a block of 512 and a part of one
@pytest.mark.parametrize('channels', [1, 33, 700])
def test_any_type_and_number_of_channels(device, channels, dtype):
    check(*random_case(SETTINGS[0], device, dtype, channels))


def test_by_hand(device, deterministic):
    map = torch.arange(16., device=device).view(1, 1, 4, 4).requires_grad_()
    triangle = torch.ones(4, 4, device=device).tril().bool()[None]
    output = free_form_roi_pool(map, torch.tensor([[0., 0, 0, 3, 3]], device=device), triangle, 2,
                                implementation='triton')
    assert output.tolist() == [[[[5, 0], [13, 15]]]]
    output.backward(torch.tensor([[[[1., 10], [100, 1000]]]], device=device))
    expected = torch.zeros(16)
    expected[[5, 13, 15]] = torch.tensor([1., 100, 1000])  # the empty bin hands nothing on
    assert map.grad.flatten().tolist() == expected.tolist()


def test_nan_is_a_maximum_and_minus_infinity_a_value(device, deterministic):
    map = torch.tensor([[-torch.inf, -torch.inf], [torch.nan, 3.]], device=device).view(1, 1, 2, 2)
    rois = torch.tensor([[0., 0, 0, 1, 0], [0, 0, 0, 1, 1], [0, 1, 0, 1, 1]], device=device)
    output, _ = check(map, rois, None, 1, 1.)
    assert output.flatten().tolist()[::2] == [-torch.inf, 3] and output[1].isnan()


def test_views(device):
    input, rois, *rest = random_case(SETTINGS[0], device)
    expected = check(input, rois, *rest)
    strided = torch.stack([rois, rois], dim=-1)[..., 0]
    found = check(input.contiguous(memory_format=torch.channels_last), strided,
                  rest[0].transpose(1, 2).contiguous().transpose(1, 2), *rest[1:])
    assert all(torch.equal(x, y) for x, y in zip(found, expected))


@pytest.mark.parametrize('shape, rois', [((0, 3, 2, 2), 0), ((1, 3, 2, 2), 0), ((1, 0, 2, 2), 2),
                                         ((1, 3, 0, 2), 2)], ids=str)
def test_empty_inputs(device, shape, rois, deterministic):
    output, gradient = check(torch.ones(shape, device=device), torch.zeros(rois, 5, device=device),
                             None, 2, 1.)
    assert output.shape == (rois, shape[1], 2, 2) and output.eq(0).all()


def test_gradcheck(device, deterministic):
    map = torch.tensor([[[[0.3, -1.2], [2.0, 0.7]]]], dtype=torch.float64, device=device)
    rois = torch.tensor([[0., 0, 0, 1, 1]], device=device)
    assert torch.autograd.gradcheck(
        lambda x: free_form_roi_pool(x, rois, map[0] < 1, (1, 2), implementation='triton'),
        map.requires_grad_())


def run_python(code, **environment):
    """Run code in a process without the interpreter."""
    environment = {**os.environ, **environment, 'TRITON_INTERPRET': '0'}
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment)


def test_the_kernels_compile_for_a_gpu(tmp_path):
    """The interpreter takes more than the compiler does, such as a name of two types."""
    process = run_python("""
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from mmseg_ext.ops.triton import free_form_roi_pool as ops

# type of the map, of the sums, of sizes; channels; masks; column by column; winners written down
for dtype, sums, size, block, masked, turned, deterministic in (
        ('bf16', 'fp32', 'i64', 1, True, False, False),
        ('fp64', 'fp64', 'i64', 64, False, True, True),
        ('fp32', 'fp32', 'i32', 512, True, True, False)):
    types = dict(source=dtype, output=dtype, gradient=dtype, total=sums, masks='i1')
    types.update({name: 'i64' for name in ('images', 'rows', 'columns', 'wrong', 'winners')})
    types = {name: '*' + type for name, type in types.items()}
    constants = dict(ACC=tl.float64 if sums == 'fp64' else tl.float32, BLOCK=block,
                     COLUMN_MAJOR=turned)
    constants.update({} if deterministic else dict(winners=None))
    constants.update({} if masked else dict(masks=None))
    for kernel in (ops._forward_kernel, ops._backward_kernel):
        own = {name: value for name, value in constants.items() if name in kernel.arg_names}
        signature = {name: 'constexpr' if name in own else types.get(name, size)
                     for name in kernel.arg_names}
        source = triton.compiler.ASTSource(kernel, signature, own)
        compiled = triton.compile(source, target=GPUTarget('cuda', 80, 32))
        ptx = compiled.asm['ptx']
        assert ('red.global' in ptx or 'atom.global' in ptx) == (
            kernel is ops._backward_kernel and not deterministic)
        print(len(compiled.asm['cubin']))
""", TRITON_CACHE_DIR=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.split()) == 6


def test_the_kernels_are_registered_and_wait_for_their_first_call():
    process = run_python("""
import sys
import torch
import mmseg_ext.ops
for name in ('free_form_roi_pool', 'free_form_roi_pool_backward'):
    assert torch._C._dispatch_has_kernel_for_dispatch_key('mmseg_ext::' + name, 'CUDA')
assert 'mmseg_ext.ops.triton.free_form_roi_pool' not in sys.modules
""")
    assert process.returncode == 0, process.stderr


@needs_gpu
@pytest.mark.parametrize('masked', [True, False], ids=['masks', 'boxes'])
def test_a_step_does_not_wait_for_a_gpu(masked):
    case = random_case(SETTINGS[0], 'cuda', torch.float32, masked=masked)
    run('triton', *case)  # compiles
    case[0].requires_grad_()
    torch.cuda.set_sync_debug_mode('error')
    try:
        free_form_roi_pool(*case, implementation='triton').sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@needs_gpu
def test_the_index_of_an_image_that_is_not_there_is_asserted_on_a_gpu():
    process = run_python("""
import torch
from mmseg_ext.ops import free_form_roi_pool
rois = torch.tensor([[2., 0, 0, 1, 1]], device='cuda')
free_form_roi_pool(torch.zeros(2, 3, 2, 2, device='cuda'), rois, None, 2, implementation='triton')
torch.cuda.synchronize()
""")
    assert process.returncode != 0 and 'index of its image, 0 to 1' in process.stderr
