"""The Triton kernel against the reference: on a GPU, or on a CPU in Triton's interpreter.

The interpreter needs TRITON_INTERPRET=1 in the environment before Triton is imported.
"""
import os
import subprocess
import sys

import pytest
import torch
from cluster_pixel_boxes_cases import CASES, clustered

from mmseg_ext.ops import cluster_pixel_boxes

pytest.importorskip('triton')
# numpy's, of the interpreter, where coordinates are not finite
pytestmark = pytest.mark.filterwarnings('ignore:.*encountered in:RuntimeWarning')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICES = ['cpu'] * INTERPRETED + ['cuda'] * torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


@pytest.fixture(params=DEVICES or [None])
def device(request):
    if request.param is None:
        pytest.skip('needs a GPU or TRITON_INTERPRET=1')
    return request.param


def check(boxes, scores, iou_thr, device):
    found = cluster_pixel_boxes(boxes.to(device), scores.to(device), iou_thr,
                                implementation='triton')
    expected = cluster_pixel_boxes(boxes, scores, iou_thr, implementation='reference')
    for one, other in zip(found, expected):
        assert one.dtype == torch.int64 and one.device.type == device
        assert torch.equal(one.cpu(), other)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('name', CASES)
def test_it_is_the_reference(device, name, dtype):
    for iou_thr in (0., 0.5, 1.):
        check(*(x.to(dtype) for x in CASES[name]), iou_thr, device)


@pytest.mark.parametrize('block', [16, 64])
@pytest.mark.parametrize('name', ['clustered', 'ties', 'one each'])
def test_several_launches(device, name, block, monkeypatch):
    """Boxes join what this launch keeps, and what those before it have kept."""
    monkeypatch.setattr('mmseg_ext.ops.triton.cluster_pixel_boxes.BLOCK', block)
    check(*CASES[name], 0.5, device)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
def test_it_rounds_as_the_reference_does(device, dtype):
    """Thresholds are the very IoUs. In the interpreter nothing is fused; a GPU may."""
    boxes, scores = (x.to(dtype) for x in clustered(40, 1, 0.2))
    for pair in boxes.view(-1, 2, 4):
        sides = (pair[0, 2:].minimum(pair[1, 2:]) - pair[0, :2].maximum(pair[1, :2])).clamp(min=0)
        areas = (pair[:, 2] - pair[:, 0]) * (pair[:, 3] - pair[:, 1])
        iou = sides.prod() / (areas.sum() - sides.prod())
        for iou_thr in (iou, torch.nextafter(iou, iou * 0)):
            check(pair, scores[:2], float(iou_thr), device)


def test_a_threshold_of_float64_is_not_rounded_to_float32(device):
    boxes = torch.tensor([[0., 0, 10, 1], [0, 0, 3, 1]]).double()
    for iou_thr in (0.3, 0.3 - 1e-12):
        check(boxes, torch.tensor([1., 0.]), iou_thr, device)


def run_python(code, **environment):
    """Run code in a process without the interpreter."""
    environment = {**os.environ, **environment, 'TRITON_INTERPRET': '0'}
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment)


def test_the_kernel_compiles_for_a_gpu_without_fused_products(tmp_path):
    process = run_python("""
import triton
from triton.backends.compiler import GPUTarget
from mmseg_ext.ops.triton.cluster_pixel_boxes import _kernel as kernel

for target, dtype in ((70, 'fp32'), (90, 'fp64')):
    types = dict(keep='*i32', cluster='*i32', num_kept='*i32', first='i32', count='i32',
                 IS_FLOAT='constexpr', BLOCK='constexpr')
    signature = {name: types.get(name, '*' + dtype) for name in kernel.arg_names}
    source = triton.compiler.ASTSource(kernel, signature, dict(IS_FLOAT=dtype == 'fp32',
                                                               BLOCK=1024))
    code = triton.compile(source, target=GPUTarget('cuda', target, 32),
                          options=dict(num_warps=8, enable_fp_fusion=False)).asm['ptx']
    print(code.count('fma.rn'), 'div.rn' in code, 'div.full' in code)
""", TRITON_CACHE_DIR=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == ['0 True False'] * 2


@needs_gpu
def test_the_dispatcher_calls_it_on_a_gpu():
    boxes, scores = (x.cuda() for x in clustered())
    expected = cluster_pixel_boxes(boxes, scores, 0.5, implementation='reference')
    for one, other in zip(torch.ops.mmseg_ext.cluster_pixel_boxes(boxes, scores, 0.5), expected):
        assert torch.equal(one, other)
    torch.library.opcheck(torch.ops.mmseg_ext.cluster_pixel_boxes.default, (boxes, scores, 0.5))
