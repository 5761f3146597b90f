"""What mmseg's heads ask of a loss, of every loss of ours: each is put into a real FCNHead."""
import inspect
from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import BootstrapPixelSampler, PixelLoss
from mmseg_ext.models.losses.divisor import divisor

# LocalizationLoss compares boxes, which no FCNHead has: test_localization_loss.py
LOSSES = [
    name for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith('mmseg_ext.models.losses') and name != 'LocalizationLoss'
]
# what is not the default, of every loss
OPTIONS = dict(
    BootstrappedCrossEntropyLoss=dict(
        thresh=0.3, min_kept=17, per_image=True, class_weight=[0.5, 2.0, 7.0]),
    ClassWeightedCrossEntropyLoss=dict(
        class_weight=[0.5, 2.0, 7.0], normalization='valid', per_image=True),
    SEMEDALoss=dict(layer_weights=(1., 0., 5.), norm='sum', activated=False),
    SobelEdgeLoss=dict(loss_weight=4.))
BOTH = [pytest.param(name, options, id=f'{name}-{kind}') for name in LOSSES
        for kind, options in (('default', {}), ('options', OPTIONS.get(name, {})))]
# this one selects for itself
PIXELS = [x for x in BOTH if x.values[0] != 'BootstrappedCrossEntropyLoss']
SAMPLERS = [
    None, dict(type='OHEMPixelSampler', thresh=0.7, min_kept=30),
    dict(type='BootstrapPixelSampler', thresh=0.3, min_kept=40),
    dict(type='BootstrapPixelSampler', min_kept=25, per_image=True, normalization='valid'),
    dict(type='BootstrapPixelSampler', min_kept=25, difficulty='loss')]
WITH_SAMPLERS = pytest.mark.parametrize(
    'sampler', SAMPLERS, ids=['all-pixels', 'mmseg', 'ours', 'ours-per-image', 'ours-by-loss'])
PLAIN = dict(type='CrossEntropyLoss', loss_name='loss_plain')
VALID = dict(type='CrossEntropyLoss', loss_name='loss_valid', avg_non_ignore=True)
IGNORED = 77  # neither a class nor mmseg's 255
# what is asked here does not depend on its network
pytestmark = pytest.mark.filterwarnings('ignore:SEMEDALoss compares features of a network')


def two_images(ignore_index=IGNORED):
    """Labels of two images, of which the second has more that are valid."""
    label = torch.randint(0, 3, (2, 1, 12, 16), generator=torch.Generator().manual_seed(0))
    label[0, :, :7] = label[1, :, :, :2] = ignore_index
    return label


def run_head(loss_decode, label, sampler=None, ignore_index=IGNORED):
    """The losses of a head and the gradient of its first layer."""
    torch.manual_seed(0)
    head = FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=3, dropout_ratio=0,
                   sampler=sampler, loss_decode=loss_decode, ignore_index=ignore_index)
    features = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=image)) for image in label]
    losses = head.loss((features, ), samples, {})
    values = [value for name, value in losses.items() if 'loss' in name]
    sum(values).backward()
    assert all(torch.isfinite(v) for v in values)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    return losses, next(head.parameters()).grad


def test_every_loss_is_tried_with_what_is_not_the_default():
    assert set(LOSSES) == set(OPTIONS)


@WITH_SAMPLERS
@pytest.mark.parametrize('name, options', BOTH)
def test_a_loss_trains_an_fcn_head_alone_and_beside_others(name, options, sampler):
    loss = dict(type=name, loss_name='loss_ours', **options)
    alone, gradient = run_head(loss, two_images(), sampler)
    assert alone['loss_ours'].ndim == 0 and alone['loss_ours'] > 0 and gradient.abs().max() > 0
    beside, _ = run_head([PLAIN, loss, VALID], two_images(), sampler)
    if (sampler or {}).get('difficulty') != 'loss':
        torch.testing.assert_close(beside['loss_ours'], alone['loss_ours'])
    if 'BootstrapPixelSampler' in str(sampler):  # else mmseg's divide by different things
        torch.testing.assert_close(beside['loss_plain'], beside['loss_valid'])


@WITH_SAMPLERS
@pytest.mark.parametrize('name', LOSSES)
def test_the_number_of_the_ignored_label_does_not_matter(name, sampler):
    """A class may be ignored too; the third has no pixel here."""
    loss = [dict(type=name, loss_name='loss_ours', **OPTIONS[name]), PLAIN]
    runs = []
    for ignore_index in (2, IGNORED, 255):
        label = two_images(ignore_index)
        label[label == 2] = ignore_index
        runs.append(run_head(loss, label, sampler, ignore_index))
    for run in runs[1:]:
        torch.testing.assert_close(run, runs[0])


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('name, options', PIXELS)
def test_with_our_sampler_a_loss_is_divided_by_the_kept_pixels(name, options, per_image):
    loss = MODELS.build(dict(type=name, **options))
    label, pred = two_images(), torch.randn(2, 3, 12, 16)
    sampler = BootstrapPixelSampler(SimpleNamespace(ignore_index=IGNORED, loss_decode=loss),
                                    thresh=0.2, min_kept=30, per_image=per_image)
    weight = sampler.sample(pred, label)
    label, kept = label[:, 0], weight > 0
    each = loss(pred, label, ignore_index=IGNORED, reduction_override='none')
    expected = sum(each[n][kept[n]].mean() for n in (0, 1)) / 2 if per_image else each[kept].mean()
    assert kept[0].sum() != kept[1].sum()
    torch.testing.assert_close(loss(pred, label, weight=weight, ignore_index=IGNORED), expected)


@pytest.mark.parametrize('name, options', BOTH)
def test_ignored_pixels_have_no_part_in_a_loss(name, options):
    loss = MODELS.build(dict(type=name, **options))
    label = two_images()[:, 0]
    pred = torch.randn(2, 3, 12, 16)
    other = torch.where((label == IGNORED)[:, None], torch.randn(2, 3, 12, 16), pred)
    for weight in (None, torch.rand(2, 12, 16)):
        before, after = (loss(x, label, weight=weight, ignore_index=IGNORED)
                         for x in (pred, other))
        torch.testing.assert_close(after, before)
        each = loss(pred, label, weight=weight, ignore_index=IGNORED, reduction_override='none')
        assert each.shape == label.shape and each[label == IGNORED].eq(0).all()


@pytest.mark.parametrize('name, options', PIXELS)
def test_a_loss_is_divided_by_what_it_says(name, options):
    loss = MODELS.build(dict(type=name, **options))
    label, pred = two_images()[:, 0], torch.randn(2, 3, 12, 16)
    weight = torch.rand(2, 12, 16)
    for given, factor in ((None, torch.ones(())), (weight, weight)):
        each = loss(pred, label, ignore_index=IGNORED, reduction_override='none') * factor
        total = divisor(loss, label, weight, IGNORED).float()
        torch.testing.assert_close(
            loss(pred, label, weight=given, ignore_index=IGNORED),
            (each.flatten(1).sum(dim=1) / total).sum())
        torch.testing.assert_close(
            loss(pred, label, weight=given, ignore_index=IGNORED, reduction_override='sum'),
            each.sum())
        torch.testing.assert_close(
            loss(pred, label, weight=given, ignore_index=IGNORED, avg_factor=7), each.sum() / 7)


@WITH_SAMPLERS
@pytest.mark.parametrize('name', LOSSES)
def test_a_batch_in_which_nothing_counts_gives_zero_with_a_graph(name, sampler):
    label = torch.full((2, 1, 12, 16), IGNORED)
    loss = [dict(type=name, loss_name='loss_ours', **OPTIONS[name]), VALID]
    losses, gradient = run_head(loss, label, sampler)
    assert losses['loss_ours'] == 0 and gradient.eq(0).all()


@pytest.mark.parametrize('name, options', BOTH)
def test_a_loss_has_mmsegs_arguments_and_its_weight_is_a_factor(name, options):
    arguments = list(inspect.signature(MODELS.get(name).forward).parameters)
    assert arguments[1:] == ['pred', 'target', 'weight', 'avg_factor', 'reduction_override',
                             'ignore_index', 'kwargs']
    one, three = (run_head(dict(dict(options, type=name, loss_name='loss_ours'), loss_weight=x),
                           two_images())[0]['loss_ours'] for x in (1., 3.))
    torch.testing.assert_close(three, 3 * one)
    assert MODELS.build(dict(type=name)).loss_name.startswith('loss_')


@pytest.mark.parametrize('change, sentence', [
    (dict(target=torch.zeros(2, 12, 16)), 'target integer tensors, got torch.float32 and torch.fl'),
    (dict(target=torch.zeros(2, 12, 15).long()), r'same N, H and W, got \(2, 3, 12, 16\) and \(2'),
    (dict(pred=torch.zeros(2, 3, 12, 16).long()), 'pred must be floating-point'),
    (dict(pred=None), 'pred must be a tensor, got NoneType'),
    (dict(ignore_index=None), 'ignore_index must be a whole number, got None'),
    (dict(ignore_index=-100, target=torch.full((2, 12, 16), 3)), 'labels hold 3, which is neither'),
    (dict(reduction_override='batchmean'), 'reduction_override must be one of'),
], ids=['float-labels', 'sizes', 'integer-logits', 'no-logits', 'no-ignored', 'label', 'reduction'])
@pytest.mark.parametrize('name', LOSSES)
def test_a_wrong_argument_is_refused_in_a_sentence(name, change, sentence):
    arguments = dict(pred=torch.zeros(2, 3, 12, 16), target=torch.zeros(2, 12, 16).long())
    with pytest.raises(ValueError, match=sentence):
        MODELS.build(dict(type=name))(**dict(arguments, **change))


@pytest.mark.parametrize('name', [n for n in LOSSES if 'class_weight' in OPTIONS[n]])
@pytest.mark.parametrize('call', [{}, dict(weight=torch.ones(2, 12, 16)), dict(avg_factor=7)],
                         ids=['mean', 'weights', 'avg_factor'])
def test_there_must_be_a_weight_for_each_class(name, call):
    loss = MODELS.build(dict(type=name, class_weight=[1., 2.]))
    with pytest.raises(ValueError, match=r'one number for each of the 3 classes.*\(2,\)'):
        loss(torch.zeros(2, 3, 12, 16), torch.zeros(2, 12, 16).long(), **call)


def test_a_loss_of_your_own_needs_its_pixels_and_its_divisor_alone():
    class AbsoluteError(PixelLoss):
        divides_by = 'valid'

        def pixel_losses(self, pred, target, ignore_index):
            valid = target != ignore_index
            right = pred.softmax(dim=1).gather(1, target.where(valid, target * 0)[:, None])[:, 0]
            return (1 - right) * valid

    label, pred = two_images()[:, 0], torch.randn(2, 3, 12, 16)
    loss = AbsoluteError(loss_weight=2., loss_name='loss_mae')
    each = loss(pred, label, ignore_index=IGNORED, reduction_override='none')
    torch.testing.assert_close(loss(pred, label, ignore_index=IGNORED),
                               each.sum() / (label != IGNORED).sum())
