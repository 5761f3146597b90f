import inspect

import pytest
import torch
from mmseg.registry import MODELS
from pixel_boxes_cases import nothing_counts, some_pred, some_target

from mmseg_ext.models import LocalizationLoss
from mmseg_ext.models.losses.localization_loss import size_weights


def loss_by_loops(pred, target, beta, size_weight):
    """The loss of each pixel as in the docstring, and the mean over the valid ones."""
    losses = torch.zeros(target.valid.shape, dtype=pred.dtype)
    for n in range(len(pred)):
        pixels = target.valid[n].nonzero().tolist()
        sides = [(target.boxes[n, 2:, y, x] - target.boxes[n, :2, y, x]).tolist()
                 for y, x in pixels]
        weights = [(w * h)**-0.5 if size_weight else 1. for w, h in sides]
        for (y, x), weight in zip(pixels, weights):
            for k in range(4):
                error = abs(pred[n, k, y, x] - target.transforms[n, k, y, x]).item()
                value = error**2 / (2 * beta) if error < beta else error - beta / 2
                losses[n, y, x] += value * weight * len(weights) / sum(weights)
    return losses, losses.sum() / target.valid.sum()


@pytest.mark.parametrize('size_weight', [True, False])
@pytest.mark.parametrize('beta', [1., 0.3])
def test_the_loss_is_that_of_loops_over_pixels(beta, size_weight):
    pred, target = some_pred(torch.double), some_target(torch.double)
    loss = MODELS.build(dict(type='LocalizationLoss', beta=beta, size_weight=size_weight))
    losses, mean = loss_by_loops(pred, target, beta, size_weight)
    torch.testing.assert_close(loss(pred, target), mean)
    torch.testing.assert_close(loss(pred, target, reduction_override='none'), losses)
    weight = torch.rand(2, 7, 9).double()
    torch.testing.assert_close(
        loss(pred, target, weight=weight), (losses * weight).sum() / target.valid.sum())
    torch.testing.assert_close(
        loss(pred, target, weight=weight, reduction_override='sum'), (losses * weight).sum())
    torch.testing.assert_close(loss(pred, target, avg_factor=7), losses.sum() / 7)


def test_pixels_of_an_instance_weigh_the_same_and_those_of_an_image_one_on_the_mean():
    weights = size_weights(some_target())
    large, small = weights[0, 4:6, 0:2], weights[0, 0:3, 1:6]
    assert large.unique().numel() == small.unique().numel() == 1
    # 7x3 pixels against 24x16
    assert small[0, 0] / large[0, 0] == pytest.approx((24 * 16 / 21)**0.5)
    valid = some_target().valid
    for n in (0, 1):
        assert weights[n][valid[n]].mean() == pytest.approx(1)
    assert weights[~valid].eq(0).all()


def test_beta_zero_is_the_absolute_error():
    pred, target = some_pred(), some_target()
    found = LocalizationLoss(beta=0, size_weight=False)(pred, target)
    error = (pred - target.transforms).abs().sum(dim=1)
    torch.testing.assert_close(found, error[target.valid].mean())


@pytest.mark.parametrize('size_weight', [True, False])
def test_the_gradient_is_that_of_finite_differences(size_weight):
    target = some_target(torch.double)
    loss = LocalizationLoss(size_weight=size_weight)
    weight = torch.rand(2, 7, 9).double()
    pred = some_pred(torch.double).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight=weight), pred)


def test_what_is_predicted_outside_of_instances_does_not_matter_not_even_nan():
    target, pred = some_target(), some_pred()
    wild = pred.where(target.valid[:, None], torch.nan).requires_grad_()
    loss = LocalizationLoss()
    torch.testing.assert_close(loss(wild, target), loss(pred, target))
    loss(wild, target).backward()
    assert wild.grad.isfinite().all()
    assert wild.grad.abs().sum(dim=1).gt(0).equal(target.valid)


def test_a_batch_in_which_nothing_counts_gives_zero_with_a_graph():
    for pred in (some_pred(), torch.full((2, 4, 7, 9), torch.nan)):
        pred.requires_grad_()
        loss = LocalizationLoss()(pred, nothing_counts(some_target()))
        loss.backward()
        assert loss == 0 and pred.grad.eq(0).all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_single(dtype):
    pred, target = some_pred().to(dtype), some_target()
    loss = LocalizationLoss()
    assert loss(pred, target).dtype == torch.float32
    torch.testing.assert_close(loss(pred, target), loss(pred.float(), target))


def test_the_loss_weight_is_a_factor_and_the_call_is_that_of_a_head():
    one, three = (LocalizationLoss(loss_weight=x)(some_pred(), some_target()) for x in (1., 3.))
    torch.testing.assert_close(three, 3 * one)
    arguments = list(inspect.signature(LocalizationLoss.forward).parameters)
    assert arguments[1:] == ['pred', 'target', 'weight', 'avg_factor', 'reduction_override',
                             'ignore_index', 'kwargs']
    assert LocalizationLoss().loss_name == 'loss_box'


@pytest.mark.parametrize('change, message', [
    (dict(pred=torch.zeros(2, 3, 7, 9)), r'four .* of target, \(2, 4, 7, 9\), got \(2, 3, 7, 9\)'),
    (dict(pred=torch.zeros(2, 4, 7, 9).long()), 'four floating-point .* torch.int64'),
    (dict(target=torch.zeros(2, 7, 9).long()), 'target must be PixelBoxes, got Tensor'),
    (dict(reduction_override='batchmean'), 'reduction_override must be one of'),
], ids=['channels', 'integers', 'labels', 'reduction'])
def test_a_wrong_argument_is_refused_in_a_sentence(change, message):
    arguments = dict(pred=some_pred(), target=some_target())
    with pytest.raises(ValueError, match=message):
        LocalizationLoss()(**dict(arguments, **change))


def test_a_negative_beta_is_refused():
    with pytest.raises(ValueError, match='beta must not be negative, got -1'):
        LocalizationLoss(beta=-1)
