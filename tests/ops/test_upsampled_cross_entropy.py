"""The op against two steps, enlargement and then loss, in float64 where not said otherwise."""
import pytest
import torch
import torch.nn.functional as F
from bootstrapped_cross_entropy_cases import IMPLEMENTATIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_ext.ops import bootstrapped_cross_entropy, extension_loaded, upsampled_cross_entropy
from mmseg_ext.ops.bootstrapped_cross_entropy import reference
from mmseg_ext.ops.enlargement import enlargement
from mmseg_ext.ops.upsampled_cross_entropy import OP

needs_cpp = pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
OPTIONS = {
    'all-pixels': dict(),
    'threshold': dict(thresh=0.3),
    'rank': dict(min_kept=40),
    'threshold-and-rank': dict(thresh=0.05, min_kept=40),
    'per-image': dict(thresh=0.2, min_kept=30, per_image=True),
    'weights': dict(min_kept=50, class_weight=[0.5, 2., 1., 0., 3.]),
    'valid': dict(thresh=0.3, normalization='valid'),
    'numel': dict(normalization='numel', ignore_index=-7),
}


def batch(small=(3, 4), large=(13, 17), classes=5, images=2, ignore_index=255, seed=0,
          dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(images, classes, *small, generator=generator, dtype=dtype)
    labels = torch.randint(classes, (images, *large), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = ignore_index
    return logits, labels


def two_steps(logits, labels, align_corners=False, **options):
    logits = logits.detach().clone().requires_grad_()
    large = F.interpolate(logits, labels.shape[1:], mode='bilinear', align_corners=align_corners)
    loss = bootstrapped_cross_entropy(large, labels, implementation='reference', **options)
    loss.backward()
    return loss.detach(), logits.grad


def one_step(logits, labels, **options):
    logits = logits.detach().clone().requires_grad_()
    loss = upsampled_cross_entropy(logits, labels, **options)
    loss.backward()
    return loss.detach(), logits.grad


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_value_and_gradient_are_those_of_two_steps(implementation, options, align_corners):
    logits, labels = batch(ignore_index=options.get('ignore_index', 255))
    options = dict(options, align_corners=align_corners)
    found = one_step(logits, labels, implementation=implementation, **options)
    torch.testing.assert_close(found, two_steps(logits, labels, **options))


@given(st.tuples(st.integers(1, 6), st.integers(1, 6)),
       st.tuples(st.integers(1, 90), st.integers(1, 140)), st.booleans(), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
@needs_cpp
def test_any_two_sizes(small, large, align_corners, classes):
    """Sizes above those of a tile, ratios below and above 1, one row, one column, one class."""
    logits, labels = batch(small, large, classes)
    options = dict(min_kept=7, align_corners=align_corners, class_weight=[0.5] * classes)
    torch.testing.assert_close(one_step(logits, labels, implementation='cpp', **options),
                               two_steps(logits, labels, **options))


@pytest.mark.parametrize('small, large', [((70, 600), (70, 600)), ((90, 1100), (31, 270)),
                                          ((2, 3), (130, 1100))])
@needs_cpp
def test_several_tiles_in_both_directions(small, large):
    logits, labels = batch(small, large)
    torch.testing.assert_close(one_step(logits, labels, thresh=0.3, implementation='cpp'),
                               two_steps(logits, labels, thresh=0.3))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_kept_and_correct_pixels_are_those_of_two_steps(implementation):
    logits, labels = batch()
    rows, columns = enlargement(logits, labels.shape[1:], False)
    found = OP(logits, labels, *rows, *columns, None, 0.1, 60, False, 255,
               implementation=implementation)
    large = F.interpolate(logits, labels.shape[1:], mode='bilinear')
    torch.testing.assert_close(found[:4], reference(large, labels, None, 0.1, 60, False, 255))
    assert found[4].tolist() == (large.argmax(1) == labels).flatten(1).sum(1).tolist()
    valid = labels != 255
    torch.testing.assert_close(found[5][valid], F.cross_entropy(
        large, labels, ignore_index=255, reduction='none')[valid])


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_a_batch_without_labels_gives_zero_with_a_graph(implementation):
    logits, labels = batch()
    loss, gradient = one_step(logits, torch.full_like(labels, 255), thresh=0.5,
                              implementation=implementation)
    assert loss == 0 and gradient.shape == logits.shape and not gradient.any()


@needs_cpp
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_enlarged_and_summed_in_float32(dtype):
    logits, labels = batch(dtype=torch.float32)
    logits = logits.to(dtype)
    loss, gradient = one_step(logits, labels, thresh=0.3, implementation='cpp')
    expected, slope = two_steps(logits.float(), labels, thresh=0.3)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.float(), slope, rtol=1e-2, atol=1e-5)


@needs_cpp
def test_300_classes_and_channels_last():
    logits, labels = batch((4, 5), (30, 150), classes=300, dtype=torch.float32)
    logits = logits.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(one_step(logits, labels, implementation='cpp'),
                               two_steps(logits, labels), rtol=1e-4, atol=1e-6)


@needs_cpp
def test_a_class_that_is_masked_by_minus_infinity_stays_masked():
    """Where 0 times infinity would make the enlarged logits NaN."""
    logits, labels = batch()
    logits[:, 2] = float('-inf')
    labels[labels == 2] = 3
    loss, gradient = one_step(logits, labels, implementation='cpp')
    few = logits[:, [0, 1, 3, 4]]
    expected, slope = two_steps(few, torch.where((labels > 2) & (labels < 255), labels - 1, labels))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient[:, [0, 1, 3, 4]], slope)
    assert not gradient[:, 2].any()


@needs_cpp
@pytest.mark.parametrize('low', [-80., -1e9, float('-inf')])
def test_the_gradient_of_a_pixel_whose_loss_is_large(low):
    """In float32 the loss and the logit of the label are too coarse to give the sum of the rest."""
    logits, labels = batch((3, 4), (3, 4), dtype=torch.float32)
    logits[:, 2] = low
    labels[:, 1] = 2
    _, gradient = one_step(logits, labels, class_weight=[1., 2., 1., 0., 3.], implementation='cpp')
    wide = logits.double().requires_grad_()
    bootstrapped_cross_entropy(wide, labels, class_weight=[1., 2., 1., 0., 3.],
                               implementation='reference').backward()
    torch.testing.assert_close(gradient.double(), wide.grad, rtol=1e-5, atol=1e-7)


@needs_cpp
def test_a_wrong_number_at_an_ignored_pixel_has_no_gradient():
    logits, labels = batch((4, 4), (8, 8), images=1)
    logits[0, 1, 3, 3] = float('nan')
    labels[:, 4:, 4:] = 255
    _, gradient = one_step(logits, labels, implementation='cpp')
    assert gradient.isfinite().all() and gradient.any()


@needs_cpp
def test_equal_bits_for_any_number_of_threads():
    logits, labels = batch((9, 20), (150, 1100), classes=19, dtype=torch.float32)
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(one_step(logits, labels, min_kept=5000, implementation='cpp'))
    finally:
        torch.set_num_threads(threads)
    for loss, gradient in results[1:]:
        assert torch.equal(loss, results[0][0]) and torch.equal(gradient, results[0][1])


@needs_cpp
@pytest.mark.parametrize('align_corners', [False, True])
def test_gradcheck(align_corners):
    logits, labels = batch((2, 3), (5, 7), classes=3)
    assert torch.autograd.gradcheck(
        lambda x: upsampled_cross_entropy(
            x, labels, align_corners=align_corners, class_weight=[1., 2., 3.]),
        logits.requires_grad_())


@needs_cpp
def test_opcheck():
    logits, labels = batch(dtype=torch.float32)
    rows, columns = enlargement(logits, labels.shape[1:], False)
    options = (torch.ones(5), 0.3, 20, True, 255)
    arguments = (logits.requires_grad_(), labels, *rows, *columns, *options)
    torch.library.opcheck(OP.dispatch, arguments)


@needs_cpp
def test_the_compiler_traces_it_as_a_whole():
    logits, labels = batch(dtype=torch.float32)
    logits.requires_grad_()

    def loss(x):
        return upsampled_cross_entropy(x, labels, thresh=0.3)

    compiled = torch.compile(loss, backend='aot_eager', fullgraph=True)
    torch.testing.assert_close(compiled(logits), loss(logits))


@needs_cpp
def test_under_autocast_sums_are_float32():
    logits, labels = batch(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = upsampled_cross_entropy(logits.bfloat16(), labels)
    assert loss.dtype == torch.float32


@pytest.mark.parametrize('change, sentence', [
    (dict(logits=torch.zeros(2, 5, 3)), r'logits must be \(N, C, h, w\)'),
    (dict(labels=torch.zeros(1, 4, 4).long()), 'with the same N'),
    (dict(labels=torch.zeros(2, 4, 4)), 'integer'),
    (dict(logits=torch.zeros(2, 5, 0, 3)), 'logits of no position'),
    (dict(labels=torch.full((2, 4, 4), 5)), 'labels hold 5'),
    (dict(class_weight=[1.]), 'class_weight must have one number'),
    (dict(thresh=2.), 'thresh is the probability'),
    (dict(normalization='pixels'), 'normalization must be one of'),
])
def test_wrong_arguments_are_refused(change, sentence):
    logits, labels = batch()
    with pytest.raises(ValueError, match=sentence):
        upsampled_cross_entropy(**dict(dict(logits=logits, labels=labels), **change))


@needs_cpp
@pytest.mark.parametrize('change, sentence', [
    (dict(first_row=torch.full((13, ), 2, dtype=torch.int32)), 'first must be from 0 to 1'),
    (dict(first_row=torch.zeros(12, dtype=torch.int32)), r'first must be \(out,\)'),
    (dict(row_weight=torch.zeros(0, 13, dtype=torch.float64)), 'a row for each tap'),
    (dict(column_weight=torch.zeros(2, 17)), 'weight must be of type Double'),
])
def test_the_kernel_refuses_what_would_lead_out_of_its_memory(change, sentence):
    logits, labels = batch()
    rows, columns = enlargement(logits, labels.shape[1:], False)
    names = ('first_row', 'row_weight', 'first_column', 'column_weight')
    geometry = dict(zip(names, (*rows, *columns)), **change)
    with pytest.raises(ValueError, match=sentence):
        torch.ops.mmseg_ext.upsampled_cross_entropy(
            logits, labels, *geometry.values(), None, None, None, False, 255)
