import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_ext.ops import grouped_cross_entropy


def case(cells=9, classes=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(cells, classes, generator=generator, dtype=torch.float64).to(dtype)
    counts = torch.randint(0, 40, (cells, classes), generator=generator)
    counts[3] = 0  # a cell without a label
    return logits.requires_grad_(), counts


def pixels_of(logits, counts):
    """The scores and labels of all pixels."""
    cell, label = (torch.from_numpy(x) for x in np.indices(counts.shape).reshape(2, -1))
    repeats = counts.flatten()
    return logits[cell.repeat_interleave(repeats)], label.repeat_interleave(repeats)


@pytest.mark.parametrize('class_weight', [None, [0.5, 2.0, 7.0, 1.0, 0.0]], ids=str)
def test_it_is_the_loss_and_gradient_of_all_pixels(class_weight):
    logits, counts = case()
    loss = grouped_cross_entropy(logits, counts, class_weight)
    gradient, = torch.autograd.grad(loss, logits)
    weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    expected = F.cross_entropy(*pixels_of(logits, counts), weight=weight)
    expected_gradient, = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-14)


def test_weights_of_the_inverse_frequency_make_all_classes_count_alike():
    """Balanced, Sec. 3.4: the mean over the classes of the mean over a class's pixels."""
    logits, counts = case()
    loss = grouped_cross_entropy(logits, counts, 1 / counts.sum(0).double())
    scores, labels = pixels_of(logits, counts)
    each = F.cross_entropy(scores, labels, reduction='none')
    expected = torch.stack([each[labels == c].mean() for c in range(5)]).mean()
    torch.testing.assert_close(loss, expected)


def test_gradcheck():
    logits, counts = case()
    assert torch.autograd.gradcheck(lambda x: grouped_cross_entropy(x, counts), logits)


def test_nothing_labelled_is_zero_with_a_graph():
    logits, counts = case()
    loss = grouped_cross_entropy(logits, torch.zeros_like(counts))
    loss.backward()
    assert loss == 0 and logits.grad.eq(0).all()


def test_an_impossible_class_without_pixels_costs_nothing():
    loss = grouped_cross_entropy(torch.tensor([[0., -torch.inf]]), torch.tensor([[3, 0]]))
    assert loss == 0


def test_half_precision_is_computed_in_float32():
    logits, counts = case(dtype=torch.bfloat16)
    loss = grouped_cross_entropy(logits, counts * 1000)
    torch.testing.assert_close(loss, grouped_cross_entropy(logits.float(), counts))
    assert loss.dtype == torch.float32


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r'both be \(S, C\), got \(2, 3\) and \(3, 2\)'):
        grouped_cross_entropy(torch.zeros(2, 3), torch.zeros(3, 2))
    with pytest.raises(ValueError, match='each of the 3 classes'):
        grouped_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 3), [1., 2.])
