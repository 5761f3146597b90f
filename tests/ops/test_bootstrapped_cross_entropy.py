"""The op against Eq. 1 evaluated pixel by pixel, for every implementation that runs here."""
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bootstrapped_cross_entropy_cases import IMPLEMENTATIONS, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_ext.ops import (
    bootstrapped_cross_entropy,
    extension_loaded,
    library,
    select_hard_pixels,
)
from mmseg_ext.ops.bootstrapped_cross_entropy import normalizers

# Low precision has its own row: the logits are rounded before the comparison, so what remains is
# the error of float32 sums (loss) and the rounding of the gradient to the type of the logits.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 2e-6, torch.float16: 2e-6}
GRADIENT_TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 4e-3,
                      torch.float16: 1e-3}


def equation_one(logits, labels, thresh=None, min_kept=None, per_image=False, class_weight=None,
                 ignore_index=255, normalization='kept'):
    """The definition by loops in double precision: loss, gradient and kept pixels."""
    x, y = logits.detach().double().numpy(), labels.numpy()
    images, classes = x.shape[:2]
    weight = np.ones(classes) if class_weight is None else np.asarray(class_weight, float)
    loss, gradient, kept = 0.0, np.zeros_like(x), np.zeros(y.shape, bool)
    scopes = [[n] for n in range(images)] if per_image else [list(range(images))]
    for scope in scopes:
        pixels = []  # in memory order: where, -log p_y, p_y, p
        for n in scope:
            for i, j in np.ndindex(y.shape[1:]):
                if y[n, i, j] != ignore_index:
                    z = x[n, :, i, j] - x[n, :, i, j].max()
                    e = np.exp(z)
                    p = e / e.sum()
                    c = y[n, i, j]
                    pixels.append(((n, i, j), np.log(e.sum()) - z[c], p[c], p))
        hard = [k for k, pixel in enumerate(pixels) if thresh is not None and pixel[2] < thresh]
        if thresh is None and min_kept is None:
            hard = range(len(pixels))
        if min_kept is not None and len(hard) < min_kept:
            # sorted() is stable: equal losses stay in memory order
            hard = sorted(range(len(pixels)), key=lambda k: -pixels[k][1])[:min_kept]
        z = dict(kept=len(hard), valid=len(pixels),
                 numel=len(scope) * y.shape[1] * y.shape[2])[normalization] * len(scopes)
        for k in hard:
            (n, i, j), nll, _, p = pixels[k]
            c = y[n, i, j]
            kept[n, i, j] = True
            loss += weight[c] * nll / z
            gradient[n, :, i, j] = weight[c] * (p - np.eye(classes)[c]) / z
    return loss, gradient, kept


def check(logits, labels, implementation, **options):
    logits = logits.detach().requires_grad_()
    loss = bootstrapped_cross_entropy(logits, labels, implementation=implementation, **options)
    loss.backward()
    selection = {k: v for k, v in options.items() if k != 'class_weight'}
    kept = select_hard_pixels(logits, labels, implementation=implementation, **selection).kept
    expected, gradient, expected_kept = equation_one(logits, labels, **options)
    np.testing.assert_array_equal(kept.numpy(), expected_kept)
    tolerance = TOLERANCE[logits.dtype]
    np.testing.assert_allclose(loss.item(), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(logits.grad.double().numpy(), gradient, rtol=0,
                               atol=GRADIENT_TOLERANCE[logits.dtype])


OPTIONS = {
    'plain-mean': dict(),
    'threshold': dict(thresh=0.4),
    'a-threshold-nobody-is-under': dict(thresh=1e-9),
    'rank': dict(min_kept=7),
    'rank-beyond-the-pixels': dict(min_kept=1000),
    'threshold-decides': dict(thresh=0.4, min_kept=3),
    'rank-decides': dict(thresh=1e-3, min_kept=11),
    'rank-of-each-image': dict(min_kept=5, per_image=True),
    'both-of-each-image': dict(thresh=0.2, min_kept=5, per_image=True),
    'mean-of-images': dict(per_image=True),
    'class-weights': dict(thresh=0.5, min_kept=5, class_weight=[0.5, 2.0, 7.0]),
    'divided-by-valid': dict(thresh=0.5, normalization='valid'),
    'divided-by-all': dict(min_kept=9, normalization='numel'),
    'divided-by-valid-of-each-image': dict(min_kept=4, normalization='valid', per_image=True),
    'divided-by-all-of-each-image': dict(min_kept=4, normalization='numel', per_image=True),
    'another-ignored-label': dict(thresh=0.5, ignore_index=0),
}


@pytest.mark.parametrize('dtype', list(TOLERANCE), ids=str)
@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_it_is_equation_one(implementation, options, dtype):
    logits, labels = batch(dtype=dtype, ignored=0.0 if 'ignore_index' in options else 0.2)
    check(logits, labels, implementation, **options)


# one pixel; a block of the kernel and a bit; more classes than the first cache holds
@pytest.mark.parametrize('shape', [(1, 2, 1, 1), (2, 5, 37, 61), (1, 300, 9, 15)], ids=str)
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_any_shape_and_layout(implementation, memory_format, shape):
    logits, labels = batch(shape)
    logits = logits.to(memory_format=memory_format)
    check(logits, labels, implementation, thresh=0.3, min_kept=4)
    logits.requires_grad_()
    bootstrapped_cross_entropy(logits, labels, implementation=implementation).backward()
    assert logits.grad.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_views_are_taken_as_they_are(implementation):
    logits, labels = batch((2, 6, 8, 10))
    check(logits[:, ::2, 1:, ::3], (labels % 3)[:, 1:, ::3], implementation, min_kept=5)
    check(logits.transpose(2, 3), labels.transpose(1, 2) % 6, implementation, thresh=0.5)


@st.composite
def any_batch(draw):
    images, classes = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    # few values, so that there are ties; extreme ones, so that probabilities are 0 and 1
    values = st.sampled_from([0.0, 1.0, -1.0, 3.5, 1e4, -1e4])
    size = images * classes * height * width
    logits = torch.tensor(draw(st.lists(values, min_size=size, max_size=size)), dtype=torch.float64)
    label = st.sampled_from([*range(classes), 255])
    size = images * height * width
    labels = torch.tensor(draw(st.lists(label, min_size=size, max_size=size)))
    options = dict(
        thresh=draw(st.sampled_from([None, 1e-3, 0.25, 0.5, 0.9, 1.0])),
        min_kept=draw(st.sampled_from([None, 1, 2, 5, 100])),
        per_image=draw(st.booleans()),
        normalization=draw(st.sampled_from(['kept', 'valid', 'numel'])),
        class_weight=draw(st.sampled_from([None, [0.5, 1.0, 2.0, 3.0][:classes]])))
    logits = logits.view(images, classes, height, width)
    return logits, labels.view(images, height, width), options


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(case=any_batch())
def test_it_is_equation_one_whatever_the_batch(implementation, case):
    logits, labels, options = case
    if (labels == 255).all():
        # Eq. 1 is 0 / 0
        logits.requires_grad_()
        loss = bootstrapped_cross_entropy(logits, labels, implementation=implementation, **options)
        loss.backward()
        assert loss == 0 and logits.grad.eq(0).all()
        return
    with np.errstate(invalid='ignore', divide='ignore'):
        expected = _nan_free(equation_one(logits, labels, **options))
    logits.requires_grad_()
    loss = bootstrapped_cross_entropy(logits, labels, implementation=implementation, **options)
    loss.backward()
    np.testing.assert_allclose(loss.item(), expected[0], rtol=1e-12)
    np.testing.assert_allclose(logits.grad.numpy(), expected[1], atol=1e-12)


def _nan_free(result):
    return tuple(np.nan_to_num(part) for part in result)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_exactly_min_kept_under_ties_the_first_in_memory(implementation):
    logits, labels = torch.zeros(2, 4, 50, 60), torch.zeros(2, 50, 60, dtype=torch.long)
    labels[0, 0, :5] = 255
    kept = select_hard_pixels(logits, labels, min_kept=100, implementation=implementation).kept
    assert kept.sum() == 100 and kept.flatten()[5:105].all()
    kept = select_hard_pixels(logits, labels, min_kept=100, per_image=True,
                              implementation=implementation).kept
    assert kept[1].flatten()[:100].all() and kept.sum() == 200


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('classes', [2, 3, 5, 7, 19, 150])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_probability_equal_to_the_threshold_is_not_below_it(implementation, classes, dtype):
    logits, labels = torch.zeros(1, classes, 4, 4, dtype=dtype), torch.ones(1, 4, 4).long()
    for thresh, expected in ((1 / classes, 0), (1 / classes + 1e-3, 16)):
        selected = select_hard_pixels(logits, labels, thresh=thresh, implementation=implementation)
        assert selected.kept.sum() == expected


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_huge_logits_lose_no_precision(implementation):
    """A stored log-sum-exp near 1e4 would be off by 5e-4 in float32."""
    logits = torch.tensor([1e4, 1e4 - 1, -1e4]).view(1, 3, 1, 1).requires_grad_()
    label = torch.ones(1, 1, 1).long()
    loss = bootstrapped_cross_entropy(logits, label, implementation=implementation)
    loss.backward()
    torch.testing.assert_close(loss.item(), float(np.log1p(np.e)), rtol=1e-6, atol=0)
    p = 1 / (1 + np.e)
    expected = torch.tensor([1 - p, p - 1, 0]).view(1, 3, 1, 1).float()
    torch.testing.assert_close(logits.grad, expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_pixel_that_broke_is_kept_so_that_the_loss_shows_it(implementation):
    logits, labels = batch(ignored=0)
    logits[1, 2, 3, 3] = torch.nan
    for options in (dict(thresh=1e-9), dict(min_kept=1)):
        selected = select_hard_pixels(logits, labels, implementation=implementation, **options)
        assert selected.kept.sum() == 1 and selected.kept[1, 3, 3]
        assert bootstrapped_cross_entropy(
            logits, labels, implementation=implementation, **options).isnan()
    labels[1, 3, 3] = 255  # but not where it does not count
    logits.requires_grad_()
    loss = bootstrapped_cross_entropy(logits, labels, min_kept=3, implementation=implementation)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_an_impossible_class_is_an_infinite_loss(implementation):
    logits = torch.tensor([0.0, -torch.inf]).view(1, 2, 1, 1)
    loss = bootstrapped_cross_entropy(
        logits, torch.ones(1, 1, 1).long(), thresh=0.5, implementation=implementation)
    assert loss == torch.inf


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('options', [dict(), dict(thresh=1.0, min_kept=10 ** 6)], ids=str)
def test_without_a_selection_it_is_torchs_cross_entropy(options, implementation):
    logits, labels = batch((2, 19, 33, 65))
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = bootstrapped_cross_entropy(ours, labels, implementation=implementation, **options)
    expected = F.cross_entropy(theirs, labels, ignore_index=255)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_per_image_is_the_mean_of_the_images(implementation):
    logits, labels = batch((3, 4, 6, 7))
    labels[1] = 255
    options = dict(thresh=0.5, min_kept=4, implementation=implementation)
    whole = bootstrapped_cross_entropy(logits, labels, per_image=True, **options)
    each = [bootstrapped_cross_entropy(x[None], y[None], **options) for x, y in zip(logits, labels)]
    assert each[1] == 0
    torch.testing.assert_close(whole, torch.stack(each).mean())


@pytest.mark.parametrize('shape', [(0, 3, 4, 4), (2, 3, 0, 4)], ids=str)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_an_empty_batch_is_zero_with_a_graph(implementation, shape):
    logits, labels = batch(shape)
    loss = bootstrapped_cross_entropy(
        logits.requires_grad_(), labels, thresh=0.5, min_kept=3, implementation=implementation)
    loss.backward()
    assert loss == 0 and logits.grad.shape == shape


@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_gradcheck(implementation, options):
    logits, labels = batch(dtype=torch.float64, ignored=0 if 'ignore_index' in options else 0.2)
    assert torch.autograd.gradcheck(
        lambda x: bootstrapped_cross_entropy(x, labels, implementation=implementation, **options),
        logits.requires_grad_())


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize('weighted', [False, True])
def test_opcheck(weighted, dtype):
    logits, labels = batch((2, 3, 6, 7), dtype=dtype)
    if weighted:  # not contiguous either
        logits, labels = logits.transpose(2, 3), labels.transpose(1, 2)
    weight = torch.rand(3, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    weight = weight if weighted else None
    args = (logits.requires_grad_(), labels, weight, 0.4, 5, True, 255)
    ops = torch.ops.mmseg_ext
    torch.library.opcheck(ops.bootstrapped_cross_entropy.default, args)
    _, kept, _, _ = ops.bootstrapped_cross_entropy(*args)
    gradient = torch.ones(2, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    torch.library.opcheck(ops.bootstrapped_cross_entropy_backward.default,
                          (gradient, logits.detach(), labels, weight, kept))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_compile_takes_it_whole(implementation):
    logits, labels = batch((2, 3, 6, 7))

    def step(x):
        return bootstrapped_cross_entropy(
            x * 2, labels, thresh=0.4, min_kept=5, implementation=implementation)

    eager = logits.clone().requires_grad_()
    step(eager).backward()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        compiled = torch.compile(step, backend='aot_eager', fullgraph=True)
        ours = logits.clone().requires_grad_()
        loss = compiled(ours)
    loss.backward()
    torch.testing.assert_close(loss, step(eager))
    torch.testing.assert_close(ours.grad, eager.grad)


def test_low_precision_sums_are_float32():
    """200,000 equal losses: bfloat16 sums would stop growing at 256."""
    logits, labels = torch.zeros(1, 2, 400, 500, dtype=torch.bfloat16), torch.zeros(1, 400, 500)
    loss = bootstrapped_cross_entropy(logits, labels.long())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.item(), float(np.log(2)), rtol=1e-6, atol=0)


def test_the_result_does_not_depend_on_the_threads():
    logits, labels = batch((2, 7, 150, 211))
    results, threads = [], torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        x = logits.clone().requires_grad_()
        loss = bootstrapped_cross_entropy(x, labels, thresh=0.1, min_kept=5000)
        loss.backward()
        results.append((loss.detach(), x.grad))
    torch.set_num_threads(threads)
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_the_normalizer_is_exact_beyond_the_integers_of_float32():
    count = torch.tensor([2**24, 1])
    scale = normalizers(torch.zeros(2, 1, 1), count, count, False, 'kept')
    assert scale.tolist() == [1 / (2**24 + 1)] * 2


@pytest.mark.parametrize('normalization', ['kept', 'valid', 'numel'])
@pytest.mark.parametrize('per_image', [False, True])
def test_the_normalizer_needs_no_float64(per_image, normalization, monkeypatch):
    """As on MPS: of 2^24 + 1 and 3 pixels, the sum is not rounded before the division."""
    monkeypatch.setattr(library, 'widest_float', lambda device: torch.float32)
    count, labels = torch.tensor([2**24 + 1, 3]), torch.zeros(2, 1, 1).long()
    scale = normalizers(labels, count, count + 4, per_image, normalization)
    assert scale.dtype == torch.float32
    numbers = torch.ones(2) if normalization == 'numel' else (
        count + 4 if normalization == 'valid' else count)
    numbers = numbers * 2 if per_image else numbers.sum().expand(2)
    torch.testing.assert_close(scale.double(), 1 / numbers.double(), rtol=2**-23, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('options', [
    dict(thresh=0.6, min_kept=50), dict(min_kept=50, per_image=True), dict(normalization='numel'),
    dict(thresh=0.6, class_weight=[0.5, 2.0, 7.0])], ids=str)
def test_a_step_does_not_wait_for_a_gpu(options):
    logits, labels = (tensor.cuda() for tensor in batch())
    logits = logits.float().requires_grad_()
    bootstrapped_cross_entropy(logits, labels, **options).backward()  # compiles, and may wait
    torch.cuda.set_sync_debug_mode('error')
    try:
        bootstrapped_cross_entropy(logits, labels, **options).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
