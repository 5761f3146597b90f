import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import CrossEntropyLoss, FocalLoss, OhemCrossEntropy
from mmseg.structures import SegDataSample
from mmseg.structures.sampler import OHEMPixelSampler

from mmseg_ext.models import BootstrapPixelSampler
from mmseg_ext.models.losses.divisor import divides_by
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
    ours = BootstrapPixelSampler(CONTEXT, thresh=0.4, normalization='all').sample(logit, label)
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
    (dict(type='ClassWeightedCrossEntropyLoss', normalization='valid', loss_name='loss_ce'), True),
], ids=str)
def test_class_weights_are_factors_of_the_kept_pixels(loss, ignored):
    weights = [0.5, 2.0, 7.0]
    head = head_with(dict(class_weight=weights, **loss), min_kept=11)
    losses, logit, label = losses_of(head, batch(ignored)[1])
    expected = bootstrapped_cross_entropy(logit, label, min_kept=11, class_weight=weights)
    torch.testing.assert_close(losses['loss_ce'], expected)


def test_losses_over_regions_beside_it_see_all_pixels():
    """mmseg's DiceLoss fails with a map of weights."""
    region = [dict(type='DiceLoss'), dict(type='LovaszLoss', per_image=True),
              dict(type='TverskyLoss')]
    losses, logit, label = losses_of(head_with([VALID_MEAN, *region], min_kept=11), batch()[1])
    torch.manual_seed(0)
    alone, _, _ = losses_of(
        FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=3, dropout_ratio=0,
                loss_decode=region), batch()[1])
    torch.testing.assert_close(
        losses['loss_ce'], bootstrapped_cross_entropy(logit, label, min_kept=11))
    for name in ('loss_dice', 'loss_lovasz', 'loss_tversky'):
        assert losses[name] > 0 and losses[name] == alone[name]


def test_bootstrapped_cross_entropy_beside_it_selects_for_itself():
    loss = dict(type='BootstrappedCrossEntropyLoss', min_kept=4, loss_name='loss_own')
    losses, logit, label = losses_of(head_with([VALID_MEAN, loss], min_kept=11), batch()[1])
    expected = bootstrapped_cross_entropy(logit, label, min_kept=4)
    torch.testing.assert_close(losses['loss_own'], expected)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_focal_loss_gets_the_weights_as_a_list_of_pixels(reduction):
    """mmseg's FocalLoss takes no map. Labels as one-hot maps: with label maps it needs a GPU."""
    logit, label = batch(ignored=False)
    loss = FocalLoss(reduction=reduction)
    context = SimpleNamespace(ignore_index=255, loss_decode=loss)
    weight = BootstrapPixelSampler(context, min_kept=11).sample(logit, label)
    one_hot = F.one_hot(label.squeeze(1), 3).permute(0, 3, 1, 2)
    each = FocalLoss(reduction='none')(logit, one_hot)
    # in mmseg a mean over the classes, but a sum over them
    each = each.mean(dim=1) if reduction == 'mean' else each.sum(dim=1)
    assert (weight > 0).sum() == 11
    torch.testing.assert_close(loss(logit, one_hot, weight=weight), each[weight > 0].mean())


# ---------------------------------------------- many losses in one head, each with its own divisor

WEIGHTS = [0.5, 2.0, 7.0, 1.5]
OURS = 'ClassWeightedCrossEntropyLoss'
LOSSES = dict(
    all=PLAIN,
    valid=VALID_MEAN,
    sum=dict(type='CrossEntropyLoss', reduction='sum'),
    binary=dict(type='CrossEntropyLoss', use_sigmoid=True),
    binary_valid=dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True),
    own=dict(type=OURS),
    own_images=dict(type=OURS, per_image=True),
    own_weights=dict(type=OURS, class_weight=WEIGHTS),
    own_weights_images=dict(type=OURS, class_weight=WEIGHTS, per_image=True),
    own_weights_valid=dict(type=OURS, class_weight=WEIGHTS, normalization='valid', per_image=True),
    semeda=dict(type='SEMEDALoss', num_classes=4, loss_weight=3.),
    semeda_sum=dict(type='SEMEDALoss', num_classes=4, norm='sum'),
    sobel=dict(type='SobelEdgeLoss'))
# mmseg's looks up the weight of an ignored pixel too, which is there if its label is a class
WITH_WEIGHTS = dict(
    weights=dict(type='CrossEntropyLoss', class_weight=WEIGHTS),
    weights_valid=dict(type='CrossEntropyLoss', class_weight=WEIGHTS, avg_non_ignore=True))
SELECTIONS = [
    dict(thresh=0.25), dict(min_kept=11), dict(min_kept=5, per_image=True),
    dict(thresh=0.2, min_kept=20, normalization='valid'), dict(min_kept=9, normalization='all'),
    dict(min_kept=9, normalization='all', per_image=True),
    dict(thresh=0.3, normalization='valid', per_image=True)]


def many_losses(names, ignore_index, **sampler):
    """A head for 4 classes with all these losses, and a batch of images with unlike labels."""
    torch.manual_seed(0)
    losses = [dict(loss, loss_name=f'loss_{name}') for name, loss in names.items()]
    head = FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=4, dropout_ratio=0,
                   ignore_index=ignore_index, loss_decode=losses,
                   sampler=dict(type='BootstrapPixelSampler', **sampler))
    for loss in head.loss_decode:
        if hasattr(loss, 'edge_net'):
            loss.is_ready = True  # as it was seeded
    label = torch.randint(0, 3, (2, 1, 8, 6), generator=torch.Generator().manual_seed(3))
    label[0, :, :5] = ignore_index
    label[1, :, 0] = ignore_index
    return head, label


def equation_one(each, logit, label, ignore_index, thresh=None, min_kept=None, per_image=False,
                 normalization='kept'):
    """The sum over the kept pixels of a loss over what the sampler divides by, by loops."""
    means = []
    for group in ([[0], [1]] if per_image else [[0, 1]]):
        pixels = [(n, y, x) for n in group for y in range(8) for x in range(6)]
        valid = [p for p in pixels if label[p] != ignore_index]
        easy = {(n, y, x): logit[n, :, y, x].softmax(dim=0)[label[n, y, x]].item()
                for n, y, x in valid}
        kept = [p for p in valid if thresh is not None and easy[p] < thresh]
        if min_kept is not None and len(kept) < min_kept:
            kept = sorted(valid, key=easy.get)[:min_kept]
        number = dict(kept=len(kept), valid=len(valid), all=len(pixels))[normalization]
        means.append(sum(each[p].item() for p in kept) / number)
    return sum(means) / len(means)


@pytest.mark.parametrize('selection', SELECTIONS, ids=str)
@pytest.mark.parametrize('ignore_index', [3, 77])
def test_every_loss_of_a_list_is_divided_by_what_the_sampler_says(ignore_index, selection):
    names = dict(LOSSES, **(WITH_WEIGHTS if ignore_index == 3 else {}))
    head, label = many_losses(names, ignore_index, **selection)
    losses, logit, label = losses_of(head, label)
    logit = logit.detach()
    for name, loss in zip(names, head.loss_decode):
        each = loss(logit, label, ignore_index=ignore_index, reduction_override='none')
        each = each.mean(dim=1) if each.ndim == 4 else each
        expected = equation_one(each, logit, label, ignore_index, **selection)
        assert losses[f'loss_{name}'].item() == pytest.approx(expected, rel=1e-5), name
    plain = equation_one(-logit.log_softmax(dim=1).gather(
        1, label.where(label != ignore_index, 0)[:, None])[:, 0], logit, label, ignore_index,
        **selection)
    assert losses['loss_all'].item() == pytest.approx(plain, rel=1e-5)
    assert losses['loss_own_images'].item() == pytest.approx(plain, rel=1e-5)


def test_the_class_weights_of_a_sigmoid_are_factors_and_no_divisor():
    loss = CrossEntropyLoss(use_sigmoid=True, class_weight=[3.])
    assert divides_by(loss) == 'all'


def test_a_second_sampler_and_a_copy_of_the_head_change_nothing():
    head, label = many_losses(LOSSES, 77, min_kept=9)
    before, _, _ = losses_of(head, label)
    head.sampler = BootstrapPixelSampler(head, min_kept=9)
    again, _, _ = losses_of(head, label)
    copied, _, _ = losses_of(copy.deepcopy(head), label)
    torch.testing.assert_close(again, before)
    torch.testing.assert_close(copied, before)


def test_numel_is_an_older_name_of_all():
    label = batch()[1]
    ours, older = (losses_of(head_with(PLAIN, min_kept=11, normalization=name), label)[0]
                   for name in ('all', 'numel'))
    kept, _, _ = losses_of(head_with(PLAIN, min_kept=11), label)
    torch.testing.assert_close(ours['loss_ce'], kept['loss_ce'] * 11 / label.numel())
    torch.testing.assert_close(older, ours)


class KeptMean(torch.nn.Module):
    """A loss of somebody else's that says what it divides by."""

    def __init__(self, divides_by='kept', per_image=False):
        super().__init__()
        self.divides_by, self.per_image = divides_by, per_image
        self.loss_name = 'loss_kept'

    def forward(self, pred, target, weight=None, ignore_index=255, **kwargs):
        each = F.cross_entropy(pred, target, ignore_index=ignore_index, reduction='none') * weight
        groups = 2 if self.per_image else 1
        each, kept = each.reshape(groups, -1), (weight > 0).reshape(groups, -1)
        return (each.sum(dim=1) / kept.sum(dim=1)).mean()


@pytest.mark.parametrize('per_image', [False, True])
def test_another_loss_can_say_what_it_divides_by(per_image):
    head = head_with([PLAIN, VALID_MEAN])
    head.loss_decode[1] = KeptMean(per_image=per_image)
    head.sampler = BootstrapPixelSampler(head, thresh=0.35)
    losses, logit, label = losses_of(head, batch()[1])
    expected = bootstrapped_cross_entropy(logit, label, thresh=0.35)
    torch.testing.assert_close(losses['loss_kept'], expected)


@pytest.mark.parametrize('loss, message', [
    (KeptMean('pixels'), r"KeptMean.divides_by must be one of .*'all'.* got 'pixels'"),
    (OhemCrossEntropy(), 'OhemCrossEntropy cannot be combined .* no argument `weight`')])
def test_a_loss_that_cannot_be_weighed_is_refused_with_the_sampler(loss, message):
    context = SimpleNamespace(ignore_index=255, loss_decode=loss)
    with pytest.raises(ValueError, match=message):
        BootstrapPixelSampler(context, thresh=0.5)


def test_one_logit_has_the_probability_of_its_sigmoid():
    torch.manual_seed(0)
    head = FCNHead(
        in_channels=4, channels=4, num_convs=1, num_classes=2, out_channels=1, dropout_ratio=0,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
        sampler=dict(type='BootstrapPixelSampler', min_kept=11))
    label = batch()[1]
    label[label == 2] = 1
    losses, logit, label = losses_of(head, label)
    each = F.binary_cross_entropy_with_logits(
        logit[:, 0], label.clamp(max=1).float(), reduction='none')[label != 255]
    torch.testing.assert_close(losses['loss_ce'], each.topk(11).values.mean())


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


@pytest.mark.parametrize('min_kept', [3, 6, 10])
def test_difficulty_by_loss_adds_losses_and_the_classes_of_binary_ones(min_kept):
    losses = [dict(VALID_MEAN, loss_weight=5.0),
              dict(type='CrossEntropyLoss', use_sigmoid=True, loss_name='loss_bce',
                   avg_non_ignore=True), dict(type='DiceLoss')]
    head = head_with(losses, min_kept=min_kept, difficulty='loss')
    _, logit, label = losses_of(head, batch()[1])
    target = label.where(label != 255, 0)
    one_hot = F.one_hot(target, 3).permute(0, 3, 1, 2).float()
    total = 5 * F.cross_entropy(logit, target, reduction='none')
    total = total + F.binary_cross_entropy_with_logits(logit, one_hot, reduction='none').sum(1)
    hardest = total.masked_fill(label == 255, -1).flatten().topk(min_kept).indices.sort().values
    kept = (head.sampler.sample(logit, label[:, None]) > 0).flatten().nonzero().flatten()
    assert torch.equal(kept, hardest)


def test_difficulty_by_loss_is_the_sum_and_not_the_last_loss():
    first = dict(type='ClassWeightedCrossEntropyLoss', class_weight=[100.0, 1.0, 0.01])
    head = head_with([first, dict(VALID_MEAN, loss_name='loss_last')], min_kept=5,
                     difficulty='loss')
    _, logit, label = losses_of(head, batch()[1])
    kept = head.sampler.sample(logit, label[:, None]) > 0
    assert kept.sum() == 5 and (label[kept] == 0).all()


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
