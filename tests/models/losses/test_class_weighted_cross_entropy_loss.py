import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg_ext.models import ClassWeightedCrossEntropyLoss
from mmseg_ext.ops import grouped_cross_entropy

WEIGHTS = [0.5, 2.0, 7.0]


def batch(ignored=True):
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 5, 4), generator=generator)
    if ignored:
        label[0, :2] = 255
    return pred, label


def by_numpy(pred, label, class_weight, normalization, ignore_index=255):
    """The definition, pixel by pixel."""
    pred, label = pred.numpy(), label.numpy()
    total = weights = pixels = 0.0
    for n, y, x in np.ndindex(*label.shape):
        c = label[n, y, x]
        if c == ignore_index:
            continue
        logits = pred[n, :, y, x]
        total += class_weight[c] * (np.log(np.exp(logits).sum()) - logits[c])
        weights += class_weight[c]
        pixels += 1
    return total / (weights if normalization == 'weights' else pixels)


@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_both_normalizations_equal_their_definition(normalization):
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, normalization)(pred, label)
    np.testing.assert_allclose(loss.item(), by_numpy(pred, label, WEIGHTS, normalization))


@pytest.mark.parametrize('ignore_index', [1, 77])  # a class, and none
@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_another_label_is_ignored_in_the_sum_and_in_z(normalization, per_image, ignore_index):
    pred, label = batch()
    label[label == 255] = ignore_index
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, normalization, per_image=per_image)
    images = ([0], [1]) if per_image else ([0, 1], )
    each = [by_numpy(pred[n], label[n], WEIGHTS, normalization, ignore_index) for n in images]
    assert loss(pred, label, ignore_index=ignore_index).item() == pytest.approx(np.mean(each))


def test_weights_normalization_is_torchs():
    pred, label = batch()
    ours = ClassWeightedCrossEntropyLoss(WEIGHTS)(pred, label)
    theirs = F.cross_entropy(
        pred, label, weight=torch.tensor(WEIGHTS, dtype=torch.float64), ignore_index=255)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_without_class_weights_it_is_the_plain_mean(normalization):
    pred, label = batch()
    ours = ClassWeightedCrossEntropyLoss(normalization=normalization)(pred, label)
    torch.testing.assert_close(ours, F.cross_entropy(pred, label, ignore_index=255))


def test_pixel_weights_multiply_and_do_not_change_the_normalizer():
    pred, label = batch()
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'valid')
    each = loss(pred, label, reduction_override='none')
    expected = (each * weight).sum() / (label != 255).sum()
    torch.testing.assert_close(loss(pred, label, weight=weight), expected)


def test_reductions_agree():
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'valid', loss_weight=3.0)
    each = loss(pred, label, reduction_override='none')
    assert each.shape == label.shape and each[0, 0, 0] == 0
    torch.testing.assert_close(loss(pred, label, reduction_override='sum'), each.sum())
    torch.testing.assert_close(loss(pred, label, avg_factor=10), each.sum() / 10)
    torch.testing.assert_close(loss(pred, label), each.sum() / (label != 255).sum())


@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_an_all_ignored_batch_is_zero_with_a_graph(class_weight, normalization):
    pred = torch.randn(1, 3, 4, 4, requires_grad=True)
    label = torch.full((1, 4, 4), 255)
    loss = ClassWeightedCrossEntropyLoss(class_weight, normalization)(pred, label)
    loss.backward()
    assert loss.item() == 0 and pred.grad.eq(0).all()


def test_gradient():
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'valid')
    assert torch.autograd.gradcheck(lambda x: loss(x, label), pred.requires_grad_())


def test_class_weights_follow_the_device_but_not_the_checkpoint():
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS)
    assert not loss.state_dict()
    assert loss.to('meta').class_weight.device.type == 'meta'


def test_pixels_is_an_older_name_of_valid():
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'pixels')
    assert loss.normalization == loss.divides_by == 'valid'


def test_unknown_normalization_is_refused():
    with pytest.raises(ValueError, match="'weights' or 'valid', got 'caffe'"):
        ClassWeightedCrossEntropyLoss(normalization='caffe')


def test_a_label_outside_the_classes_is_named():
    pred, label = batch()
    label[1, 2, 3] = 200
    with pytest.raises(ValueError, match='labels hold 200, which is neither one of the 3 classes'):
        ClassWeightedCrossEntropyLoss(WEIGHTS)(pred, label)


# ------------------------------------------------------------------------- a mean of each image


@pytest.mark.parametrize('class_weight', [[1.] * 3, WEIGHTS])
@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_per_image_is_the_mean_of_the_losses_of_the_images(class_weight, normalization):
    pred, label = batch()
    loss = ClassWeightedCrossEntropyLoss(class_weight, normalization, per_image=True)(pred, label)
    each = [by_numpy(pred[n:n + 1], label[n:n + 1], class_weight, normalization) for n in (0, 1)]
    assert loss.item() == pytest.approx(np.mean(each))
    assert loss.item() != pytest.approx(by_numpy(pred, label, class_weight, normalization))


@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_an_image_without_labels_counts_as_zero_in_the_mean_of_images(class_weight, normalization):
    pred, label = batch()
    label[1] = 255
    loss = ClassWeightedCrossEntropyLoss(class_weight, normalization, per_image=True)
    pred.requires_grad_()
    value = loss(pred, label)
    torch.testing.assert_close(value, loss(pred[:1], label[:1]) / 2)
    value.backward()
    assert pred.grad[1].eq(0).all() and pred.grad[0].ne(0).any()


def test_pixel_weights_multiply_in_each_image_too():
    pred, label = batch()
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, 'valid', per_image=True)
    each = loss(pred, label, reduction_override='none')
    expected = ((each * weight).sum(dim=(1, 2)) / (label != 255).sum(dim=(1, 2))).mean()
    torch.testing.assert_close(loss(pred, label, weight=weight), expected)


# --------------------------------------------------------------------------------- cells

# Pixels of each label in three cells of one image and two of another.
COUNTS = [torch.tensor([[6, 0, 1], [0, 0, 0], [2, 1, 0]]), torch.tensor([[0, 3, 0], [5, 0, 0]])]


def cells_and_pixels():
    """Scores of the cells, and of 2x14 pixels, 10 of them unlabelled, scores and labels.

    A cell of the first image has no labelled pixel.
    """
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(*image.shape, generator=generator).double() for image in COUNTS]
    pred, label = torch.zeros(2, 3, 1, 14, dtype=torch.float64), torch.full((2, 1, 14), 255)
    for n, image in enumerate(COUNTS):
        pixel = 0
        for cell, c in np.ndindex(*image.shape):
            for _ in range(int(image[cell, c])):
                pred[n, :, 0, pixel], label[n, 0, pixel] = scores[n][cell], c
                pixel += 1
    return [image.requires_grad_() for image in scores], pred, label


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('class_weight', [None, WEIGHTS])
@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_cells_have_the_loss_of_their_pixels(class_weight, normalization, per_image):
    scores, pred, label = cells_and_pixels()
    loss = ClassWeightedCrossEntropyLoss(
        class_weight, normalization, loss_weight=3., per_image=per_image)
    value = loss.forward_cells([image.log_softmax(dim=1) for image in scores], COUNTS)
    torch.testing.assert_close(value, loss(pred, label))
    assert value.ndim == 0
    gradients = torch.autograd.grad(value, scores)
    pred.requires_grad_()
    by_pixel, = torch.autograd.grad(loss(pred, label), pred)
    for n, gradient in enumerate(gradients):
        torch.testing.assert_close(gradient.sum(dim=0), by_pixel[n].sum(dim=(1, 2)))
        assert gradient[COUNTS[n].sum(dim=1) == 0].eq(0).all()


def test_balanced_weights_sum_to_1_over_the_labelled_pixels_of_an_image():
    """90 pixels of class 0, 10 of class 1; weights 1/.9 and 1/.1 give half the loss to each."""
    counts = [torch.tensor([[90, 0], [0, 10]]), torch.tensor([[3, 0], [0, 0]])]
    loss = ClassWeightedCrossEntropyLoss([1 / .9, 1 / .1], per_image=True)
    ones, zeros = -torch.ones(2), torch.zeros(2)
    both = torch.stack([ones, ones])
    assert loss.forward_cells([both, both], counts).item() == pytest.approx(1)
    class_0, class_1 = torch.stack([ones, zeros]), torch.stack([zeros, ones])
    assert loss.forward_cells([class_0], counts[:1]).item() == pytest.approx(0.5)
    assert loss.forward_cells([class_1], counts[:1]).item() == pytest.approx(0.5)
    unbalanced = ClassWeightedCrossEntropyLoss(per_image=True)
    assert unbalanced.forward_cells([class_1], counts[:1]).item() == pytest.approx(0.1)


def test_one_image_of_cells_is_the_op():
    scores, _, _ = cells_and_pixels()
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS)
    torch.testing.assert_close(
        loss.forward_cells([scores[0].log_softmax(dim=1)], COUNTS[:1]),
        grouped_cross_entropy(scores[0], COUNTS[0], WEIGHTS))


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('normalization', ['weights', 'valid'])
def test_cells_without_labels_or_no_cells_are_zero_with_a_graph(normalization, per_image):
    scores = [torch.randn(4, 3, requires_grad=True), torch.randn(0, 3, requires_grad=True)]
    loss = ClassWeightedCrossEntropyLoss(WEIGHTS, normalization, per_image=per_image)
    value = loss.forward_cells(scores, [torch.zeros(4, 3).long(), torch.zeros(0, 3).long()])
    value.backward()
    assert value == 0 and all(image.grad.eq(0).all() for image in scores)


def test_an_impossible_class_that_no_pixel_has_is_no_loss():
    log_p = torch.tensor([[0., -torch.inf]], requires_grad=True)
    loss = ClassWeightedCrossEntropyLoss()
    value = loss.forward_cells([log_p], [torch.tensor([[5, 0]])])
    value.backward()
    assert value == 0 and torch.isfinite(log_p.grad).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_cells_are_summed_up_in_float32(dtype):
    """100,001 pixels: more than float16 has, and more digits than either."""
    log_p = torch.tensor([[-1., -3.], [-0.5, -2.]], dtype=dtype)
    counts = torch.tensor([[90000, 1], [7000, 3000]])
    value = ClassWeightedCrossEntropyLoss().forward_cells([log_p], [counts])
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx((90000 + 3 + 3500 + 6000) / 100001)


def test_a_wrong_number_of_class_weights_is_named():
    scores, _, _ = cells_and_pixels()
    with pytest.raises(ValueError, match='one number for each of the 3 classes'):
        ClassWeightedCrossEntropyLoss([1., 2.]).forward_cells(scores, COUNTS)
