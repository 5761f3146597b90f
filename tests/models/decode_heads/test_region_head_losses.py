"""Equations 1 to 4 by loops; the loss of cells is that of pixels; nothing counts."""

import numpy as np
import pytest
import region_head_cases as cases
import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import FCNHead


def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)


def regions_at(regions, y, x):
    """Numbers of the regions that contain a pixel."""
    cell, indptr, indices = regions.cells[y, x], regions.indptr, regions.indices
    return [r for r in range(len(indptr) - 1) if cell in indices[indptr[r]:indptr[r + 1]]]


def by_loops(scores, regions, equation):
    """Probabilities of Eq. 1 or Eq. 3 at each pixel, (H, W, C); NaN where there is no region.

    Of Eq. 1 they do not sum to 1.
    """
    number, classes = scores.shape
    result = np.full((*regions.cells.shape, classes), np.nan)
    probabilities = softmax(scores)
    for y, x in np.ndindex(*regions.cells.shape):
        containing = regions_at(regions, y, x)
        if not containing:
            continue
        best = np.full(classes, -np.inf)
        for r in containing:
            for c in range(classes):
                best[c] = max(best[c], (probabilities if equation == 1 else scores)[r, c])
        result[y, x] = best if equation == 1 else softmax(best)
    return result


# A pixel in region 0 alone, in both, in region 1 alone. Region 0 has the higher scores, region 1
# the more different ones: probabilities .731 .269 and .018 .982. Where both are, Eq. 3 compares
# 4 with 3 and says class 0, Eq. 1 compares .731 with .982 and says class 1.
TWO_SCORES = np.array([[4., 3.], [-3., 1.]])
TWO_REGIONS = cases.region_set([[0, 1, 2]], [[0, 1], [1, 2]])
ARGMAX = {1: [[0, 1, 1]], 3: [[0, 0, 1]]}


def test_softmax_first_switches_between_equations_1_and_3_which_differ():
    np.testing.assert_allclose(
        by_loops(TWO_SCORES, TWO_REGIONS, 1)[0],
        [[.7311, .2689], [.7311, .9820], [.0180, .9820]], atol=1e-4)
    np.testing.assert_allclose(
        by_loops(TWO_SCORES, TWO_REGIONS, 3)[0],
        [[.7311, .2689], [.7311, .2689], [.0180, .9820]], atol=1e-4)
    for equation in (1, 3):
        head = cases.head_of_scores(TWO_SCORES, softmax_first=equation == 1)
        found = cases.predict_one(head, TWO_REGIONS).argmax(dim=0)
        assert found.tolist() == ARGMAX[equation]
        assert by_loops(TWO_SCORES, TWO_REGIONS, equation).argmax(-1).tolist() == found.tolist()


@pytest.mark.parametrize('equation', [1, 3])
def test_both_equations_by_loops(equation):
    regions = cases.random_regions((20, 31), number=5)
    scores = np.random.default_rng(1).normal(0, 3, (5, cases.CLASSES))
    head = cases.head_of_scores(scores, softmax_first=equation == 1)
    found = cases.predict_one(head, regions).detach()
    found = (found.exp() if equation == 1 else found.softmax(dim=0)).permute(1, 2, 0).numpy()
    expected = by_loops(scores, regions, equation)
    covered = ~np.isnan(expected).any(axis=-1)
    assert 0.5 < covered.mean() < 1
    np.testing.assert_allclose(found[covered], expected[covered])
    other = by_loops(scores, regions, 4 - equation)
    assert (other.argmax(axis=-1) != expected.argmax(axis=-1))[covered].any()


def test_after_a_softmax_the_loss_is_that_of_the_maximum_not_normalized_again():
    """As in the released code."""
    head = cases.head_of_scores(TWO_SCORES, softmax_first=True)
    losses = cases.loss_of_one(head, TWO_REGIONS, [[0, 0, 1]])
    expected = -np.log([.7310586, .7310586, .9820138]).mean()
    assert losses['loss_ce'].item() == pytest.approx(expected, rel=1e-6)
    assert losses['acc_seg'].item() == pytest.approx(100 * 2 / 3)


def test_equation_4_sends_the_gradient_to_the_region_that_won():
    """Eq. 5: where both regions are, region 0 wins in both classes; one third of each pixel."""
    head = cases.head_of_scores(TWO_SCORES)
    cases.loss_of_one(head, TWO_REGIONS, [[0, 0, 1]])['loss_ce'].backward()
    p = .2689414  # of class 1 in region 0
    expected = [[-2 * p / 3, 2 * p / 3], [.0179862 / 3, -.0179862 / 3]]
    np.testing.assert_allclose(head.classifier.scores.grad, expected, rtol=1e-5)


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('class_weight', [None, cases.WEIGHTS])
def test_the_loss_of_regions_is_equation_2_by_loops(per_image, class_weight):
    """The second image has two regions of which no pixel has a label; they do not count."""
    maps, samples = cases.two_images()
    regions = samples[1].regions
    indptr, indices = regions.indptr, regions.indices
    unlabelled = torch.isin(regions.cells, indices[indptr[4]:indptr[5]][:2].int())
    groups = [indices[a:b].tolist() for a, b in zip(indptr, indptr[1:])]
    few = groups[4][:2]
    regions = cases.region_set(regions.cells, groups + [few[:1], few])
    label = samples[1].gt_sem_seg.data[0].clone()
    label[:cases.SIZES[1][0]][:, :cases.SIZES[1][1]][unlabelled] = 255
    samples[1] = cases.make_sample(regions, label)

    head = cases.make_head(region_loss=True, softmax_first=True, loss_decode=dict(
        cases.PER_CELL, per_image=per_image, class_weight=class_weight)).double()
    losses = head.loss(maps, samples, {})
    sums, counts, right = np.zeros(2), np.zeros(2), 0
    scores = head(maps, [sample.regions for sample in samples], cases.BATCH)
    for n, (sample, image) in enumerate(zip(samples, scores)):
        cells, indptr, indices = sample.regions
        height, width = cells.shape
        label = sample.gt_sem_seg.data[0, :height, :width]
        for r, probabilities in enumerate(softmax(image.detach().numpy())):
            inside = torch.isin(cells, indices[indptr[r]:indptr[r + 1]].int())
            found = label[inside & (label != 255)].tolist()
            if not found:
                continue
            c = max(range(cases.CLASSES), key=found.count)
            weight = class_weight[c] if class_weight else 1
            sums[n] -= weight * np.log(probabilities[c])
            counts[n] += weight
            right += probabilities.argmax() == c
    assert len(scores[1]) == 16
    expected = (sums / counts).mean() if per_image else sums.sum() / counts.sum()
    assert losses['loss_ce'].item() == pytest.approx(expected)
    assert losses['acc_seg'].item() == pytest.approx(100 * right / (14 + 14))


# --------------------------------------------------------- the loss of cells is that of pixels


def by_pixels(scores, label, class_weight, per_image, normalization):
    """Cross entropy with the weights of Sec. 3.4 at each pixel."""
    weight = torch.tensor(class_weight or [1.] * cases.CLASSES, dtype=scores.dtype)
    valid = label != 255
    weight = torch.where(valid, weight[label.where(valid, label.new_zeros(()))], 0)
    total = weight if normalization == 'weights' else valid.to(weight)
    total = total.sum(dim=(1, 2), keepdim=True) if per_image else total.sum() / len(label)
    weight = weight / total / len(label)
    if normalization == 'weights':
        assert weight.sum().item() == pytest.approx(1)
    return (weight * F.cross_entropy(scores, label, ignore_index=255, reduction='none')).sum()


@pytest.mark.parametrize('normalization', ['weights', 'pixels'])
@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('class_weight', [None, cases.WEIGHTS])
def test_the_loss_of_cells_is_that_of_all_pixels(class_weight, per_image, normalization):
    """Two images of different sizes with ignored pixels; values and all gradients."""
    maps, samples = cases.two_images()
    head = cases.make_head(loss_decode=dict(
        cases.PER_CELL, class_weight=class_weight, per_image=per_image,
        normalization=normalization)).double()
    assert head.loss_per_cell
    leaves = [*maps, *head.parameters()]
    losses = head.loss(maps, samples, {})
    scores, label = cases.predict(head, maps, samples), cases.labels_of(samples)
    expected = by_pixels(scores, label, class_weight, per_image, normalization)
    torch.testing.assert_close(losses['loss_ce'], expected, rtol=1e-10, atol=0)
    for found, gradient in zip(torch.autograd.grad(losses['loss_ce'], leaves),
                               torch.autograd.grad(expected, leaves)):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found, gradient, rtol=1e-8, atol=1e-12)
    valid = label != 255
    accuracy = (scores.argmax(dim=1) == label)[valid].double().mean()
    assert losses['acc_seg'].item() == pytest.approx(100 * accuracy.item())


def test_the_default_loss_is_the_mean_over_the_labelled_pixels_of_each_image():
    maps, samples = cases.two_images()
    head = cases.make_head().double()
    expected = by_pixels(
        cases.predict(head, maps, samples), cases.labels_of(samples), None, True, 'weights')
    torch.testing.assert_close(head.loss(maps, samples, {})['loss_ce'], expected)


@pytest.mark.parametrize('decay', [0.5, 1.])
def test_the_losses_agree_for_the_soft_variant_too(decay):
    maps, samples = cases.two_images()
    head = cases.make_head(decay=decay, loss_decode=cases.PER_CELL).double()
    expected = F.cross_entropy(
        cases.predict(head, maps, samples), cases.labels_of(samples), ignore_index=255)
    torch.testing.assert_close(head.loss(maps, samples, {})['loss_ce'], expected)


def test_losses_per_cell_of_one_name_are_added_as_in_mmseg():
    maps, samples = cases.two_images()
    one = cases.make_head(loss_decode=cases.PER_CELL).double().loss(maps, samples, {})
    two = cases.make_head(loss_decode=[
        cases.PER_CELL, dict(cases.PER_CELL, loss_weight=2.),
        dict(cases.PER_CELL, loss_name='loss_other')
    ]).double().loss(maps, samples, {})
    torch.testing.assert_close(two['loss_ce'], 3 * one['loss_ce'])
    torch.testing.assert_close(two['loss_other'], one['loss_ce'])


@pytest.mark.parametrize('loss_decode, sampler', [
    (cases.CE, None),
    (dict(type='DiceLoss'), None),
    (dict(type='BootstrappedCrossEntropyLoss', thresh=0.3, min_kept=100), None),
    ([cases.CE, dict(type='DiceLoss', loss_weight=3.)], None),
    ([cases.PER_CELL, dict(type='DiceLoss')], None),
    (cases.PER_CELL, dict(type='OHEMPixelSampler', thresh=0.3, min_kept=100)),
    (cases.CE, dict(type='OHEMPixelSampler', min_kept=100)),
    (cases.CE, dict(type='BootstrapPixelSampler', thresh=0.3, min_kept=100)),
])
def test_other_losses_and_samplers_see_the_pixels_as_those_of_an_fcn(loss_decode, sampler):
    maps, samples = cases.two_images(torch.float32)
    losses = dict(loss_decode=loss_decode, sampler=sampler)
    head = cases.make_head(**losses)
    assert not head.loss_per_cell
    fcn = FCNHead(
        in_channels=cases.CHANNELS, channels=cases.CHANNELS, num_classes=cases.CLASSES, **losses)
    expected = fcn.loss_by_feat(cases.predict(head, maps, samples), samples)
    found = head.loss(maps, samples, {})
    assert set(found) == set(expected)
    for name in found:
        torch.testing.assert_close(found[name], expected[name])
    sum(value for name, value in found.items() if 'loss' in name).backward()
    assert all(p.grad.abs().max() > 0 for p in head.parameters())



@pytest.mark.parametrize('kwargs', [
    dict(), dict(softmax_first=True), dict(decay=0.5), dict(region_loss=True),
    dict(features='tied'), dict(roi_layer=cases.CALVIN),
    dict(loss_decode=dict(cases.PER_CELL, class_weight=cases.WEIGHTS)),
    dict(loss_decode=cases.CE), dict(sampler=dict(type='BootstrapPixelSampler', min_kept=9)),
], ids=str)
@pytest.mark.parametrize('empty', ['labels', 'regions', 'cells'])
def test_where_nothing_counts_the_loss_is_0_and_every_parameter_has_a_gradient(empty, kwargs):
    """Else training on several GPUs hangs. Regions: none, though cells with labels are there."""
    maps, samples = cases.two_images(torch.float32)
    head = cases.make_head(**kwargs)
    for n, sample in enumerate(samples):
        label, regions = torch.full(cases.BATCH, 255), sample.regions
        if empty == 'cells':
            regions = cases.region_set(torch.full(cases.SIZES[n], -1), [])
        if empty == 'regions':
            regions, label = cases.region_set(sample.regions.cells, []), sample.gt_sem_seg.data[0]
        samples[n] = cases.make_sample(regions, label)
    losses = head.loss(maps, samples, {})
    loss = losses['loss_ce']
    loss.backward()
    if empty == 'regions' and not kwargs.get('region_loss'):
        # all scores are equal there; nothing to be learnt, but a loss that is no accident
        assert torch.isfinite(loss)
    else:
        assert loss == 0
    if head.loss_per_cell and empty != 'regions':
        assert losses['acc_seg'] == 0  # mmseg's own says 100
    assert not hasattr(head.conv_seg, 'weight') and len(list(head.parameters())) == 6
    for parameter in [*maps, *head.parameters()]:
        assert parameter.grad is not None and parameter.grad.eq(0).all()


@pytest.mark.parametrize('region_loss', [False, True])
def test_an_image_without_regions_leaves_the_other_as_it_is(region_loss):
    """The mean is over both images."""
    maps, samples = cases.two_images()
    head = cases.make_head(region_loss=region_loss).double()
    maps = (maps[0].detach(), )
    alone = head.loss((maps[0][:1], ), samples[:1], {})
    samples[1] = cases.make_sample(
        cases.region_set(torch.full(cases.SIZES[1], -1), []), torch.full(cases.BATCH, 255))
    both = head.loss(maps, samples, {})
    torch.testing.assert_close(both['loss_ce'], alone['loss_ce'] / 2)
    torch.testing.assert_close(both['acc_seg'], alone['acc_seg'])
    assert cases.predict(head, maps, samples)[1].eq(0).all()
