"""The Triton kernels against the reference: on a GPU, or on a CPU in Triton's interpreter.

The interpreter needs TRITON_INTERPRET=1 in the environment before Triton is imported.
"""
import os

import pytest
import torch

from mmseg_ext.ops import upsampled_argmax, upsampled_cross_entropy
from mmseg_ext.ops.upsampled_cross_entropy import upsampled_cross_entropy_sums

pytest.importorskip('triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICES = ['cpu'] * INTERPRETED + ['cuda'] * torch.cuda.is_available()


@pytest.fixture(params=DEVICES or [None])
def device(request):
    if request.param is None:
        pytest.skip('needs a GPU or TRITON_INTERPRET=1')
    return request.param


def batch(device, small=(3, 5), large=(9, 21), classes=5, dtype=torch.float32, ignored=0.2):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, classes, *small, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (2, *large), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return logits.to(device, dtype), labels.to(device)


def run(implementation, logits, labels, **options):
    logits = logits.detach().requires_grad_()
    loss = upsampled_cross_entropy(logits, labels, implementation=implementation, **options)
    gradient, = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient


def check(logits, labels, **options):
    tolerance = dict(rtol=1e-10, atol=1e-12) if logits.dtype == torch.float64 else dict(
        rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(run('triton', logits, labels, **options),
                               run('reference', logits, labels, **options), **tolerance)


OPTIONS = {
    'all pixels': dict(),
    'threshold and rank': dict(thresh=0.05, min_kept=60),
    'per image': dict(thresh=0.3, min_kept=30, per_image=True),
    'weights': dict(min_kept=50, class_weight=[0.5, 2., 1., 0., 3.]),
    'corners': dict(align_corners=True, normalization='valid'),
}


@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_value_and_gradient(device, options, dtype):
    check(*batch(device, dtype=dtype), **options)


@pytest.mark.parametrize('small, large', [
    ((1, 1), (4, 5)), ((4, 1), (7, 3)), ((2, 20), (5, 300)), ((5, 40), (3, 21)), ((3, 4), (3, 4))])
def test_one_position_several_programs_and_fewer_pixels_than_positions(device, small, large):
    check(*batch(device, small, large))


def test_300_classes_and_channels_last(device):
    logits, labels = batch(device, classes=300)
    check(logits.contiguous(memory_format=torch.channels_last), labels)


def test_counts_are_those_of_the_reference(device):
    logits, labels = batch(device)
    found, expected = (upsampled_cross_entropy_sums(logits, labels, thresh=0.3, implementation=name)
                       for name in ('triton', 'reference'))
    for a, b in zip(found[1:5], expected[1:5]):
        assert torch.equal(a, b)
    torch.testing.assert_close(found.losses, expected.losses)


def test_half_precision_is_enlarged_in_float32(device):
    logits, labels = batch(device, dtype=torch.float16)
    loss, gradient = run('triton', logits, labels)
    expected, slope = run('reference', logits.float(), labels)
    assert loss.dtype == torch.float32 and gradient.dtype == torch.float16
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.float(), slope, rtol=2e-3, atol=1e-6)


def test_a_batch_without_labels_gives_zero_with_a_graph(device):
    logits, labels = batch(device)
    loss, gradient = run('triton', logits, torch.full_like(labels, 255), thresh=0.5)
    assert loss == 0 and not gradient.any()


def test_a_masked_class_stays_masked(device):
    logits, labels = batch(device)
    logits[:, 2] = float('-inf')
    labels[labels == 2] = 3
    loss, gradient = run('triton', logits, labels)
    assert loss.isfinite() and gradient.isfinite().all() and not gradient[:, 2].any()


@pytest.mark.parametrize('through', [None, [(16, 24), (1, 2, 0, 3), 'horizontal']])
def test_label_maps(device, through):
    logits, _ = batch(device, dtype=torch.float64)
    found, expected = (upsampled_argmax(logits, (11, 30), through=through, implementation=name)
                       for name in ('triton', 'reference'))
    assert torch.equal(found, expected)


def test_the_first_of_equal_logits_counts_and_a_nan_is_more_than_any_number(device):
    nan, inf = float('nan'), float('inf')
    columns = torch.tensor([[1., 2., 2.], [1., nan, inf], [inf, nan, nan], [-inf, -inf, -inf]])
    logits = columns.T[None, :, None, :].to(device)
    found = upsampled_argmax(logits, (1, 4), implementation='triton')
    assert found.tolist() == [[[1, 1, 1, 0]]]
