import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_ext.models import ClassWeightedCrossEntropyLoss

WEIGHTS = [0.5, 2.0, 7.0]


def batch(ignored=True):
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 5, 4), generator=generator)
    if ignored:
        label[0, :2] = 255
    return pred, label


def by_numpy(pred, label, class_weight, normalization):
    """The definition, pixel by pixel."""
    pred, label = pred.numpy(), label.numpy()
    total = weights = pixels = 0.0
    for n, y, x in np.ndindex(*label.shape):
        c = label[n, y, x]
        if c == 255:
            continue
        logits = pred[n, :, y, x]
        total += class_weight[c] * (np.log(np.exp(logits).sum()) - logits[c])
        weights += class_weight[c]
        pixels += 1
    return total / (weights if normalization == 'weights' else pixels)


@pytest.mark.parametrize('normalization', ['weights', 'pixels'])
def test_both_normalizations_equal_their_definition(normalization):
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, normalization)(pred, label)
    np.testing.assert_allclose(loss.item(), by_numpy(pred, label, WEIGHTS, normalization))


def test_weights_normalization_is_torchs():
    pred, label = batch()
    ours = ClassWeightedCrossEntropyLoss(WEIGHTS)(pred, label)
    theirs = F.cross_entropy(
        pred, label, weight=torch.tensor(WEIGHTS, dtype=torch.float64), ignore_index=255)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('normalization', ['weights', 'pixels'])
def test_without_class_weights_it_is_the_plain_mean(normalization):
    pred, label = batch()
    ours = ClassWeightedCrossEntropyLoss(normalization=normalization)(pred, label)
    torch.testing.assert_close(ours, F.cross_entropy(pred, label, ignore_index=255))


def test_pixel_weights_multiply_and_do_not_change_the_normalizer():
    pred, label = batch()
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'pixels')
    each = loss(pred, label, reduction_override='none')
    expected = (each * weight).sum() / (label != 255).sum()
    torch.testing.assert_close(loss(pred, label, weight=weight), expected)


def test_reductions_agree():
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'pixels', loss_weight=3.0)
    each = loss(pred, label, reduction_override='none')
    assert each.shape == label.shape and each[0, 0, 0] == 0
    torch.testing.assert_close(loss(pred, label, reduction_override='sum'), each.sum())
    torch.testing.assert_close(loss(pred, label, avg_factor=10), each.sum() / 10)
    torch.testing.assert_close(loss(pred, label), each.sum() / (label != 255).sum())


@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
@pytest.mark.parametrize('normalization', ['weights', 'pixels'])
def test_an_all_ignored_batch_is_zero_with_a_graph(class_weight, normalization):
    pred = torch.randn(1, 3, 4, 4, requires_grad=True)
    label = torch.full((1, 4, 4), 255)
    loss = ClassWeightedCrossEntropyLoss(class_weight, normalization)(pred, label)
    loss.backward()
    assert loss.item() == 0 and pred.grad.eq(0).all()


def test_gradient():
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'pixels')
    assert torch.autograd.gradcheck(lambda x: loss(x, label), pred.requires_grad_())


def test_class_weights_follow_the_device_but_not_the_checkpoint():
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS)
    assert not loss.state_dict()
    assert loss.to('meta').class_weight.device.type == 'meta'


def test_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="'weights' or 'pixels', got 'caffe'"):
        ClassWeightedCrossEntropyLoss(normalization='caffe')


def test_a_label_outside_the_classes_is_named():
    pred, label = batch()
    label[1, 2, 3] = 200
    with pytest.raises(ValueError, match='one of the 3 classes, 0 to 2, nor 255.*Target 200'):
        ClassWeightedCrossEntropyLoss(WEIGHTS)(pred, label)
