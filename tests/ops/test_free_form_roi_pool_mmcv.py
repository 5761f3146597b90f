"""Whole boxes on a GPU, which mmcv's kernel pools where it is there."""
import sys
import types

import numpy as np
import pytest
import torch
from free_form_roi_pool_cases import needs_gpu, pool_and_gradient

from mmseg_ext.ops import library
from mmseg_ext.ops.free_form_roi_pool import _is_for_mmcv


@needs_gpu
@pytest.mark.parametrize('masked', [True, False], ids=['full masks', 'boxes'])
def test_full_masks_are_roi_pooling_of_mmcv(masked):
    """Bit for bit with boxes that begin in the image, and a scale that is a power of two.

    Else a GPU's compiler, which adds and multiplies at once, rounds mmcv's borders otherwise.
    """
    from mmcv.ops import roi_pool
    rng = np.random.default_rng(0)
    x1, y1 = rng.integers(0, 600, (2, 300))
    rois = torch.from_numpy(np.column_stack([
        rng.integers(0, 2, 300), x1, y1, x1 + rng.integers(0, 600, 300),
        y1 + rng.integers(0, 600, 300)])).float().cuda()
    input = torch.randn(2, 20, 38, 38, device='cuda', requires_grad=True)
    masks = torch.ones(300, 38, 38, dtype=torch.bool, device='cuda') if masked else None
    expected = roi_pool(input, rois, 7, 1 / 16)
    received = torch.randint(-4, 5, expected.shape, device='cuda').float()
    found = pool_and_gradient(input, rois, masks, 7, 1 / 16, received=received)
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], torch.autograd.grad(expected, input, received)[0])


@needs_gpu
def test_a_box_that_ends_before_it_begins_has_no_gradient_on_a_gpu():
    """That of mmcv's kernel would go to the first cell of the map."""
    output, gradient = pool_and_gradient(
        torch.ones(1, 2, 5, 5, device='cuda'), torch.tensor([[0., 3, 1, 1, 4]], device='cuda'),
        None, 2, received=torch.ones(1, 2, 2, 2))
    assert output.eq(0).all() and gradient.eq(0).all()


@pytest.fixture
def asks_mmcv(monkeypatch):
    """Whether mmcv's kernel is asked for whole boxes on a GPU, of which there is only the name."""
    monkeypatch.setattr(library, '_warned', set())

    def ask(cuda_version, scale=(0.5, 0.5), bins='mmcv', dtype=torch.float32, boxes=1, **device):
        stub = types.SimpleNamespace(get_compiling_cuda_version=lambda: cuda_version)
        # None: an import of it fails
        monkeypatch.setitem(sys.modules, 'mmcv.ops', stub if cuda_version else None)
        map = types.SimpleNamespace(**dict(dict(is_cuda=True, dtype=dtype), **device))
        return bool(_is_for_mmcv(map, torch.zeros(boxes, 5), scale, bins))

    return ask


def test_mmcv_pools_whole_boxes_where_it_has_the_kernel(asks_mmcv):
    assert asks_mmcv('13.0') and asks_mmcv('rocm not available')
    for other in (dict(scale=(0.5, 0.25)), dict(bins='calvin'), dict(dtype=torch.float16),
                  dict(boxes=0), dict(is_cuda=False)):
        assert not asks_mmcv('13.0', **other)


@pytest.mark.parametrize('cuda_version, reason', [
    ('not available', 'was compiled without its kernels for CUDA'),
    (None, 'mmcv.ops cannot be imported')])
def test_without_the_kernel_of_mmcv_ours_runs_and_one_warning_says_so(
        asks_mmcv, cuda_version, reason, recwarn):
    assert not asks_mmcv(cuda_version) and not asks_mmcv(cuda_version)
    warning, = recwarn
    assert reason in str(warning.message) and 'with its own kernels' in str(warning.message)


def test_mmcv_is_not_asked_where_the_result_must_be_deterministic(asks_mmcv, recwarn):
    torch.use_deterministic_algorithms(True)
    try:
        assert not asks_mmcv('13.0')
    finally:
        torch.use_deterministic_algorithms(False)
    assert not recwarn
