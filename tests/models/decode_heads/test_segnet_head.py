import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.models import VGG, SegNetHead
from mmseg_ext.models.decode_heads.segnet_head import max_unpool_like

WIDTHS = [2, 4, 8, 16, 16, 16]
CE = dict(type='ClassWeightedCrossEntropyLoss')


def make_head(**kwargs):
    return SegNetHead(WIDTHS, num_classes=5, loss_decode=CE, **kwargs)


def encoder_maps(height, width):
    return VGG(base_channels=2)(torch.randn(2, 3, height, width))


def samples(height, width):
    label = torch.randint(0, 5, (2, 1, height, width))
    return [SegDataSample(gt_sem_seg=PixelData(data=data)) for data in label]


@pytest.mark.parametrize('size', [(32, 64), (61, 83), (1, 40)])
def test_the_logits_have_the_size_of_the_image(size):
    (logits, ) = make_head()(encoder_maps(*size))
    assert logits.shape == (2, 5, *size)


def test_deep_supervision_predicts_at_each_decoder_stage():
    stages = make_head(deep_supervision=True)(encoder_maps(360, 480))
    assert [tuple(s.shape[2:]) for s in stages] == [(23, 30), (45, 60), (90, 120), (180, 240),
                                                    (360, 480)]


@pytest.mark.parametrize('size', [(6, 8), (5, 7)])
def test_unpooling_puts_values_back_where_the_maximum_was(size):
    before = torch.randn(2, 3, *size)
    pooled = F.max_pool2d(before, 2, ceil_mode=True)
    restored = max_unpool_like(pooled, before)
    n, d, h, w = restored.shape
    for y in range(0, h, 2):
        for x in range(0, w, 2):
            window = before[:, :, y:y + 2, x:x + 2]
            expected = torch.where(window == window.amax((2, 3), keepdim=True), window, 0.)
            torch.testing.assert_close(restored[:, :, y:y + 2, x:x + 2], expected)


def test_unpooling_passes_the_gradient_to_the_values_alone():
    pooled = torch.randn(1, 1, 2, 2, requires_grad=True)
    before = torch.randn(1, 1, 4, 4, requires_grad=True)
    max_unpool_like(pooled, before).sum().backward()
    assert pooled.grad.eq(1).all() and before.grad is None


def test_the_decoder_mirrors_vgg16():
    head = SegNetHead([64, 128, 256, 512, 512, 512], num_classes=11, loss_decode=CE)
    widths = [(m.in_channels, m.out_channels) for m in head.modules() if isinstance(m, nn.Conv2d)]
    encoder = [(m.in_channels, m.out_channels) for m in VGG().modules()
               if isinstance(m, nn.Conv2d)]
    mirrored = [(b, a) for a, b in reversed(encoder)]
    mirrored[-1] = (64, 11)  # to the classes in place of the image
    assert widths == mirrored


@pytest.mark.parametrize('deep_supervision, names', [
    (False, {'loss_ce'}),
    (True, {'loss_s1', 'loss_s2', 'loss_s3', 'loss_s4', 'loss_s5'}),
])
def test_losses_and_gradients(deep_supervision, names):
    head = make_head(deep_supervision=deep_supervision)
    losses = head.loss(encoder_maps(33, 40), samples(33, 40), {})
    assert set(losses) == names | {'acc_seg'}
    sum(losses[name] for name in names).backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize('stage_weights', [[0, 1, 1, 0, 1], [1, 1, 1, 1, 0]])
def test_a_classifier_of_weight_zero_gets_a_gradient_of_zero(stage_weights):
    """DistributedDataParallel waits for the gradient of every parameter."""
    head = make_head(deep_supervision=True, stage_weights=stage_weights)
    losses = head.loss(encoder_maps(33, 40), samples(33, 40), {})
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None for p in head.parameters())
    for k, classifier in enumerate(head.classifiers):
        assert classifier.weight.grad.any() == bool(stage_weights[k])


def test_one_logit_needs_a_loss_of_one_logit_and_learns_with_it():
    options = dict(num_classes=2, out_channels=1, threshold=0.5)
    with pytest.raises(ValueError, match='ClassWeightedCrossEntropyLoss needs a logit for each'):
        SegNetHead(WIDTHS, loss_decode=CE, **options)
    loss = dict(type='CrossEntropyLoss', use_sigmoid=True)
    head = SegNetHead(WIDTHS, loss_decode=loss, deep_supervision=True, **options)
    label = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 2, (1, 33, 40))))] * 2
    losses = head.loss(encoder_maps(33, 40), label, {})
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(c.weight.grad.any() for c in head.classifiers)


def test_dropout_is_refused():
    with pytest.raises(ValueError, match='SegNetHead has no dropout.*got dropout_ratio=0.5'):
        make_head(dropout_ratio=0.5)


def test_maps_and_stages_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='needs 6 maps .* got 5'):
        SegNetHead(WIDTHS[:5], num_classes=5)
