from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import CrossEntropyLoss, FocalLoss
from mmseg.structures import SegDataSample
from mmseg.structures.sampler import OHEMPixelSampler

from mmseg_ext.models import BootstrapPixelSampler
from mmseg_ext.ops import bootstrapped_cross_entropy

CONTEXT = SimpleNamespace(ignore_index=255, loss_decode=CrossEntropyLoss(loss_weight=1.0))
PLAIN = dict(type='CrossEntropyLoss')
VALID_MEAN = dict(type='CrossEntropyLoss', avg_non_ignore=True)


def batch(ignored=True):
    generator = torch.Generator().manual_seed(0)
    logit = torch.randn(2, 3, 8, 6, generator=generator)
    label = torch.randint(0, 3, (2, 1, 8, 6), generator=generator)
    if ignored:
        label[0, :, :2] = 255
    return logit, label


def head_with(loss_decode, **sampler):
    torch.manual_seed(0)
    return FCNHead(
        in_channels=4, channels=4, num_convs=1, num_classes=3, dropout_ratio=0,
        loss_decode=loss_decode, sampler=dict(type='BootstrapPixelSampler', **sampler))


def losses_of(head, label):
    """The losses of a head, and the logits and labels that they see."""
    features = (torch.randn(2, 4, 8, 6, generator=torch.Generator().manual_seed(1)), )
    samples = [SegDataSample(gt_sem_seg=PixelData(data=y)) for y in label]
    return head.loss(features, samples, {}), head(features), label.squeeze(1)


# ---------------------------------------------- what mmseg's sampler does otherwise

def loss_with(sampler, logit, label):
    """What a head makes of a sampler's weights, with mmseg's cross entropy."""
    weight = sampler.sample(logit, label)
    return CrossEntropyLoss()(logit, label.squeeze(1), weight=weight, ignore_index=255)


def test_the_loss_is_divided_by_the_kept_pixels_where_mmseg_divides_by_all():
    logit, label = batch()
    eq1 = bootstrapped_cross_entropy(logit, label.squeeze(1), thresh=0.3, min_kept=2)
    ours = loss_with(BootstrapPixelSampler(CONTEXT, thresh=0.3, min_kept=2), logit, label)
    mmseg = loss_with(OHEMPixelSampler(CONTEXT, thresh=0.3, min_kept=2), logit, label)
    torch.testing.assert_close(ours, eq1)
    assert mmseg < 0.6 * eq1


def test_ties_keep_min_kept_pixels_where_mmseg_keeps_none():
    logit, label = torch.zeros(2, 3, 8, 6), batch(ignored=False)[1]
    ours = BootstrapPixelSampler(CONTEXT, thresh=0.1, min_kept=10).sample(logit, label)
    mmseg = OHEMPixelSampler(CONTEXT, thresh=0.1, min_kept=5).sample(logit, label)
    assert (ours > 0).sum() == 10 and (mmseg > 0).sum() == 0


def test_with_fewer_valid_pixels_than_min_kept_all_are_kept_where_mmseg_drops_the_easiest():
    logit, label = batch()
    valid = (label != 255).sum()
    ours = BootstrapPixelSampler(CONTEXT, thresh=0.01, min_kept=1000).sample(logit, label)
    mmseg = OHEMPixelSampler(CONTEXT, thresh=0.01, min_kept=1000).sample(logit, label)
    assert (ours > 0).sum() == valid and (mmseg > 0).sum() == valid - 1


def test_without_a_normalization_it_selects_as_mmseg():
    logit, label = batch()
    ours = BootstrapPixelSampler(CONTEXT, thresh=0.4, normalization='numel').sample(logit, label)
    mmseg = OHEMPixelSampler(CONTEXT, thresh=0.4, min_kept=2).sample(logit, label)
    torch.testing.assert_close(ours, mmseg)


# ---------------------------------------------- Eq. 1 by any loss of a head

@pytest.mark.parametrize('selection', [
    dict(thresh=0.35), dict(min_kept=11), dict(min_kept=5, per_image=True),
    dict(thresh=0.2, min_kept=11, normalization='valid')], ids=str)
@pytest.mark.parametrize('loss', [
    PLAIN, VALID_MEAN, dict(type='CrossEntropyLoss', reduction='sum'),
    dict(type='ClassWeightedCrossEntropyLoss', loss_name='loss_ce')], ids=str)
def test_whatever_a_loss_divides_by_the_head_gets_equation_one(loss, selection):
    losses, logit, label = losses_of(head_with(loss, **selection), batch()[1])
    expected = bootstrapped_cross_entropy(logit, label, **selection)
    torch.testing.assert_close(losses['loss_ce'], expected)


@pytest.mark.parametrize('loss, ignored', [
    # mmseg's cross entropy cannot look up the class weight of label 255
    (dict(type='CrossEntropyLoss'), False),
    (dict(type='CrossEntropyLoss', avg_non_ignore=True), False),
    (dict(type='ClassWeightedCrossEntropyLoss', loss_name='loss_ce'), True),
    (dict(type='ClassWeightedCrossEntropyLoss', normalization='pixels', loss_name='loss_ce'), True),
], ids=str)
def test_class_weights_are_factors_of_the_kept_pixels(loss, ignored):
    weights = [0.5, 2.0, 7.0]
    head = head_with(dict(class_weight=weights, **loss), min_kept=11)
    losses, logit, label = losses_of(head, batch(ignored)[1])
    expected = bootstrapped_cross_entropy(logit, label, min_kept=11, class_weight=weights)
    torch.testing.assert_close(losses['loss_ce'], expected)


def test_losses_over_regions_beside_it_see_all_pixels():
    """mmseg's DiceLoss fails with a map of weights."""
    region = [dict(type='DiceLoss'), dict(type='LovaszLoss', per_image=True)]
    losses, logit, label = losses_of(head_with([VALID_MEAN, *region], min_kept=11), batch()[1])
    alone, _, _ = losses_of(
        FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=3, dropout_ratio=0,
                loss_decode=region), batch()[1])
    torch.testing.assert_close(
        losses['loss_ce'], bootstrapped_cross_entropy(logit, label, min_kept=11))
    assert losses['loss_dice'] > 0 and losses['loss_lovasz'] > 0 and len(alone) == 3


def test_bootstrapped_cross_entropy_beside_it_selects_for_itself():
    loss = dict(type='BootstrappedCrossEntropyLoss', min_kept=4, loss_name='loss_own')
    losses, logit, label = losses_of(head_with([VALID_MEAN, loss], min_kept=11), batch()[1])
    expected = bootstrapped_cross_entropy(logit, label, min_kept=4)
    torch.testing.assert_close(losses['loss_own'], expected)


def test_focal_loss_gets_the_weights_as_a_list_of_pixels():
    """mmseg's FocalLoss takes no map. Labels as one-hot maps: with label maps it needs a GPU."""
    logit, label = batch(ignored=False)
    loss = FocalLoss(reduction='mean')
    context = SimpleNamespace(ignore_index=255, loss_decode=loss)
    weight = BootstrapPixelSampler(context, min_kept=11).sample(logit, label)
    one_hot = F.one_hot(label.squeeze(1), 3).permute(0, 3, 1, 2)
    each = FocalLoss(reduction='none')(logit, one_hot)
    torch.testing.assert_close(loss(logit, one_hot, weight=weight), (each * weight[:, None]).mean())


def test_losses_that_divide_by_different_things_are_refused_when_the_head_is_built():
    with pytest.raises(ValueError, match=r'different things \(pixels, valid pixels\)'):
        head_with([PLAIN, VALID_MEAN], min_kept=11)


@pytest.mark.parametrize('loss', [PLAIN, VALID_MEAN], ids=str)
def test_a_batch_in_which_nothing_counts_is_zero_with_a_graph(loss):
    head = head_with(loss, thresh=0.5, min_kept=11)
    losses, _, _ = losses_of(head, torch.full((2, 1, 8, 6), 255))
    losses['loss_ce'].backward()
    assert losses['loss_ce'] == 0 and all(p.grad.eq(0).all() for p in head.parameters())


# ---------------------------------------------- difficulty by the losses themselves

def test_difficulty_by_loss_keeps_what_the_losses_find_hard():
    weights = [100.0, 1.0, 0.01]
    loss = dict(type='ClassWeightedCrossEntropyLoss', class_weight=weights, loss_name='loss_ce')
    head = head_with(loss, min_kept=5, difficulty='loss')
    _, logit, label = losses_of(head, batch()[1])
    kept = head.sampler.sample(logit, label[:, None]) > 0
    assert kept.sum() == 5 and (label[kept] == 0).all()


def test_difficulty_by_loss_adds_losses_and_the_classes_of_binary_ones():
    losses = [VALID_MEAN, dict(type='CrossEntropyLoss', use_sigmoid=True, loss_name='loss_bce',
                               avg_non_ignore=True), dict(type='DiceLoss')]
    head = head_with(losses, min_kept=6, difficulty='loss')
    _, logit, label = losses_of(head, batch()[1])
    target = label.where(label != 255, 0)
    one_hot = F.one_hot(target, 3).permute(0, 3, 1, 2).float()
    total = F.cross_entropy(logit, target, reduction='none')
    total = total + F.binary_cross_entropy_with_logits(logit, one_hot, reduction='none').sum(1)
    hardest = total.masked_fill(label == 255, -1).flatten().topk(6).indices.sort().values
    kept = (head.sampler.sample(logit, label[:, None]) > 0).flatten().nonzero().flatten()
    assert torch.equal(kept, hardest)


def test_difficulty_by_loss_needs_one_that_has_pixels():
    head = head_with(dict(type='DiceLoss'), min_kept=5, difficulty='loss')
    with pytest.raises(ValueError, match=r"DiceLoss.*use difficulty='probability'"):
        head.sampler.sample(*batch())


@pytest.mark.parametrize('options, message', [
    (dict(difficulty='entropy'), "'probability' or 'loss', got 'entropy'"),
    (dict(difficulty='loss', thresh=0.5), 'no meaning'),
    (dict(thresh=2.0), 'thresh'), (dict(min_kept=0), 'min_kept'),
    (dict(normalization='mean'), 'normalization')])
def test_wrong_options_are_refused_when_the_head_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        head_with(PLAIN, **options)
