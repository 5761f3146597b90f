"""What the op takes and what it refuses; the kernels check again what they are called with."""
import pytest
import torch
from bootstrapped_cross_entropy_cases import IMPLEMENTATIONS, batch

from mmseg_ext.ops import bootstrapped_cross_entropy, extension_loaded, select_hard_pixels


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_whole_numbers_may_be_floats(implementation):
    logits, labels = batch()
    labels[labels == 255] = 2
    for function in (bootstrapped_cross_entropy, lambda *a, **k: select_hard_pixels(*a, **k).kept):
        assert torch.equal(
            function(logits, labels, min_kept=3.0, ignore_index=2.0, implementation=implementation),
            function(logits, labels, min_kept=3, ignore_index=2, implementation=implementation))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('value', [3, 200, -1])
def test_a_label_that_is_no_class_is_named(implementation, value):
    logits, labels = batch()
    labels[1, 2, 3] = value
    with pytest.raises(ValueError, match=f'labels hold {value}.*3 classes, 0 to 2.*255'):
        bootstrapped_cross_entropy(logits, labels, implementation=implementation)


@pytest.mark.parametrize('options, message', [
    (dict(thresh=0.0), r'thresh .* in \(0, 1\].*got 0.0'),
    (dict(thresh=1.5), r'thresh .* in \(0, 1\].*got 1.5'),
    (dict(min_kept=0), 'min_kept must be .* at least 1.*got 0'),
    (dict(min_kept=2.5), 'min_kept must be a whole number.*got 2.5'),
    (dict(min_kept=float('inf')), 'min_kept must be a whole number.*got inf'),
    (dict(min_kept=float('nan')), 'min_kept must be a whole number.*got nan'),
    (dict(min_kept='3'), 'min_kept must be a whole number.*got 3'),
    (dict(ignore_index=None), 'ignore_index must be a whole number, got None; .* such as -1'),
    (dict(ignore_index=0.5), 'ignore_index must be a whole number, got 0.5'),
    (dict(normalization='mean'), "'kept', 'valid', 'numel'.*got 'mean'"),
    (dict(class_weight=[1.0]), 'class_weight must have one number for each of the 3 classes'),
    (dict(implementation='numba'), "implementation must be .* got 'numba'"),
])
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        bootstrapped_cross_entropy(*batch(), **options)


def test_shapes_and_types_that_do_not_match_are_refused():
    logits, labels = batch()
    with pytest.raises(ValueError, match=r'same N, H and W.*\(2, 3, 4, 5\) and \(2, 5, 4\)'):
        bootstrapped_cross_entropy(logits, labels.transpose(1, 2))
    with pytest.raises(ValueError, match='labels integer tensors.*torch.float32'):
        bootstrapped_cross_entropy(logits, labels.float())


@pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')
@pytest.mark.parametrize('change, message', [
    (dict(labels=torch.zeros(2, 3, 4).long()), r'labels must be \(N, H, W\).*\[2, 3, 5\].*got'),
    (dict(class_weight=torch.ones(3)), r'class_weight must be \(C,\).*\[4\].*got \[3\]'),
    (dict(min_kept=0), 'min_kept must be .* at least 1'),
    (dict(gradient=torch.ones(1)), r'gradient must be \(N,\).*\[2\].*got \[1\]'),
    (dict(labels=torch.full((2, 3, 5), 4)), 'one of the 4 classes'),
    (dict(labels=torch.full((2, 3, 5), -1)), 'one of the 4 classes'),
    (dict(kept=torch.full((2, 3, 5), 7, dtype=torch.uint8).view(torch.bool)), 'kept must be True'),
    (dict(kept=torch.ones(2, 3, 4).bool()), r'kept must be \(N, H, W\)')], ids=str)
def test_the_kernels_refuse_maps_that_do_not_fit(change, message):
    """A kept pixel with a wrong label would be written out of bounds."""
    ops, common = torch.ops.mmseg_ext, dict(
        logits=torch.randn(2, 4, 3, 5), labels=torch.zeros(2, 3, 5).long(), class_weight=None)
    forward = dict(common, thresh=None, min_kept=3, per_image=False, ignore_index=255)
    backward = dict(common, gradient=torch.ones(2), kept=torch.ones(2, 3, 5).bool())
    for op, arguments in ((ops.bootstrapped_cross_entropy, forward),
                          (ops.bootstrapped_cross_entropy_backward, backward)):
        if set(change) <= set(arguments):
            with pytest.raises(ValueError, match=message):
                op(**{**arguments, **change})
