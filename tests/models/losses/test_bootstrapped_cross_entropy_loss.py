import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import BootstrappedCrossEntropyLoss
from mmseg_ext.ops import bootstrapped_cross_entropy, select_hard_pixels

WEIGHTS = [0.5, 2.0, 7.0]
SELECTIONS = [dict(thresh=0.5), dict(min_kept=7), dict(thresh=0.3, min_kept=9, per_image=True),
              dict(min_kept=7, normalization='valid'), dict(thresh=0.5, normalization='numel')]
IGNORED = [1, 77]  # a class, and none


def batch():
    generator = torch.Generator().manual_seed(0)
    pred = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 3, (2, 5, 4), generator=generator)
    label[0, :2] = 255
    return pred, label


@pytest.mark.parametrize('class_weight', [None, WEIGHTS], ids=['plain', 'weighted'])
@pytest.mark.parametrize('selection', SELECTIONS, ids=str)
def test_it_is_the_op_and_all_ways_to_it_agree(selection, class_weight):
    pred, label = batch()
    loss = BootstrappedCrossEntropyLoss(class_weight=class_weight, loss_weight=3.0, **selection)
    expected = 3 * bootstrapped_cross_entropy(pred, label, class_weight=class_weight, **selection)
    torch.testing.assert_close(loss(pred, label), expected)
    # with weights of one, the path for weights gives the same value and gradient
    a, b = pred.clone().requires_grad_(), pred.clone().requires_grad_()
    loss(a, label).backward()
    weighted = loss(b, label, weight=torch.ones(label.shape))
    weighted.backward()
    torch.testing.assert_close(weighted, expected)
    torch.testing.assert_close(a.grad, b.grad)


def test_none_gives_the_kept_pixels_losses_and_sum_their_sum():
    pred, label = batch()
    loss = BootstrappedCrossEntropyLoss(min_kept=7)
    each = loss(pred, label, reduction_override='none')
    kept = select_hard_pixels(pred, label, min_kept=7).kept
    plain = F.cross_entropy(pred, label, ignore_index=255, reduction='none')
    assert each.shape == label.shape and (each > 0).sum() == 7
    torch.testing.assert_close(each, plain * kept)
    torch.testing.assert_close(loss(pred, label, reduction_override='sum'), each.sum())
    torch.testing.assert_close(loss(pred, label, avg_factor=10), each.sum() / 10)
    torch.testing.assert_close(loss(pred, label), each.sum() / 7)


def test_pixel_weights_are_factors_that_change_neither_selection_nor_normalizer():
    pred, label = batch()
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss = BootstrappedCrossEntropyLoss(min_kept=7)
    each = loss(pred, label, reduction_override='none')
    torch.testing.assert_close(loss(pred, label, weight=weight), (each * weight).sum() / 7)


@pytest.mark.parametrize('ignore_index', IGNORED)
@pytest.mark.parametrize('weight', [None, torch.rand(2, 5, 4).double()], ids=['fused', 'weights'])
def test_another_label_can_be_ignored(weight, ignore_index):
    """The 7 hardest pixels by loops; 255 would be none of the labels."""
    pred, label = batch()
    label[label == 255] = ignore_index
    losses = []
    for n, y, x in torch.cartesian_prod(*map(torch.arange, label.shape)).tolist():
        if label[n, y, x] != ignore_index:
            loss = -pred[n, :, y, x].log_softmax(dim=0)[label[n, y, x]].item()
            losses.append((loss, 1. if weight is None else weight[n, y, x].item()))
    expected = sum(loss * factor for loss, factor in sorted(losses)[-7:]) / 7
    loss = BootstrappedCrossEntropyLoss(min_kept=7)
    ours = loss(pred, label, weight=weight, ignore_index=ignore_index)
    assert ours.item() == pytest.approx(expected)


def test_all_is_the_name_of_what_the_op_calls_numel():
    pred, label = batch()
    ours, older = (BootstrappedCrossEntropyLoss(min_kept=7, normalization=name)(pred, label)
                   for name in ('all', 'numel'))
    kept = BootstrappedCrossEntropyLoss(min_kept=7)(pred, label)
    torch.testing.assert_close(ours, kept * 7 / label.numel())
    torch.testing.assert_close(older, ours)


def test_class_weights_follow_the_device_but_not_the_checkpoint():
    loss = BootstrappedCrossEntropyLoss(class_weight=WEIGHTS)
    assert not loss.state_dict()
    assert loss.to('meta').class_weight.device.type == 'meta'


@pytest.mark.parametrize('weight', [None, torch.ones(2, 5, 4)], ids=['fused', 'with-weights'])
def test_half_precision_logits_give_a_float32_loss(weight):
    pred, label = batch()
    pred = pred.bfloat16().requires_grad_()
    loss = BootstrappedCrossEntropyLoss(thresh=0.5)(pred, label, weight=weight)
    loss.backward()
    assert loss.dtype == torch.float32 and pred.grad.dtype == torch.bfloat16


def test_it_works_under_autocast():
    pred, label = batch()
    layer = torch.nn.Conv2d(3, 3, 1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = BootstrappedCrossEntropyLoss(min_kept=5)(layer(pred.float()), label)
    loss.backward()
    assert loss.dtype == torch.float32 and layer.weight.grad.dtype == torch.float32


LOSS = dict(loss_decode=dict(type='BootstrappedCrossEntropyLoss', thresh=0.5, min_kept=9))
SAMPLER = dict(
    loss_decode=dict(type='CrossEntropyLoss'),
    sampler=dict(type='BootstrapPixelSampler', thresh=0.5, min_kept=9))


BESIDE = dict(SAMPLER, loss_decode=[
    dict(type='CrossEntropyLoss'),
    dict(type='ClassWeightedCrossEntropyLoss', per_image=True, loss_name='loss_own')])


@pytest.mark.parametrize(
    'bootstrapping', [LOSS, SAMPLER, BESIDE], ids=['loss', 'sampler', 'sampler-two-losses'])
def test_a_model_with_it_compiles_whole(bootstrapping):
    torch.manual_seed(0)
    head = dict(type='FCRNHead', in_channels=16, in_index=3, num_classes=3, label_stride=8)
    backbone = dict(type='FCRN', depth=18, base_channels=2, stem_channels=2, dropout=())
    model = MODELS.build(dict(
        type='EncoderDecoder', backbone=backbone, decode_head=dict(head, **bootstrapping)))
    label = torch.randint(0, 3, (1, 64, 64))
    label[:, :20] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label))] * 2
    images = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(
        lambda x: model.loss(x, samples), backend='aot_eager', fullgraph=True)(images)
    torch.testing.assert_close(compiled, model.loss(images, samples))


@pytest.mark.parametrize('options, message', [
    (dict(thresh=2.0), 'thresh'), (dict(min_kept=0), 'min_kept'),
    (dict(normalization='mean'), "normalization must be 'kept', 'valid' or 'all', got 'mean'")])
def test_wrong_options_are_refused_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        BootstrappedCrossEntropyLoss(**options)
