import copy

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import VGG, FCN16sHead

CLASSES, CHANNELS, WIDTH = 5, (3, 4), 6
CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)
TENT = [0.25, 0.75, 0.75, 0.25]  # bilinear interpolation by 2, as a transposed convolution


def make_head(random=True, **kwargs):
    """A narrow head; `random`: with other weights than the zeros that score layers start from."""
    torch.manual_seed(0)
    head = FCN16sHead(CHANNELS, WIDTH, **dict(dict(num_classes=CLASSES, loss_decode=CE), **kwargs))
    if random:
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=0.5)
    return head.double().eval()


def some_maps(height, width, batch=1):
    """Conv4 and pool5 of an image of this size, as VGG rounds them."""
    torch.manual_seed(1)
    return [torch.randn(batch, channels, -(-height // stride), -(-width // stride)).double()
            for channels, stride in zip(CHANNELS, (8, 32))]


def make_model(**head):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.] * 3, std=[60.] * 3,
                               size_divisor=16, test_cfg=dict(size_divisor=16)),
        backbone=dict(type='VGG', depth=11, base_channels=4, out_indices=(3, 5)),
        decode_head=dict(dict(type='FCN16sHead', in_channels=(32, 32), channels=8,
                              num_classes=CLASSES, loss_decode=CE), **head),
        test_cfg=ConfigDict(mode='whole')))


def batch_of(height, width, images=2):
    label = torch.randint(0, CLASSES, (1, height, width))
    label[:, :4] = 255
    meta = dict(img_shape=(height, width), ori_shape=(height, width))
    return dict(
        inputs=[torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
                for _ in range(images)],
        data_samples=[SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(meta))
                      for _ in range(images)])


# ----------------------------------------------------------------------------------- the scores


@pytest.mark.parametrize('height, width', [(64, 96), (33, 47), (100, 75), (48, 80), (1, 17)])
def test_vggs_maps_of_any_image_give_a_cell_for_each_16_pixels(height, width):
    backbone = VGG(depth=11, base_channels=1, out_indices=(3, 5))
    head = FCN16sHead((8, 8), WIDTH, num_classes=CLASSES, loss_decode=CE)
    logits = head(backbone(torch.randn(2, 3, height, width)))
    assert logits.shape == (2, CLASSES, -(-height // 16), -(-width // 16))


@pytest.mark.parametrize('height, width', [(96, 128), (70, 100)])
def test_the_scores_are_the_sum_that_loops_compute(height, width):
    """Positions of pool4 and pool5 begin at the same pixel; the end of an odd map is cut off."""
    head = make_head()
    conv4, pool5 = some_maps(height, width)
    fc7 = head.classifier(pool5)[0].detach().numpy()
    weights = {name: value.numpy() for name, value in head.state_dict().items()}
    rows, columns = -(-height // 16), -(-width // 16)
    expected = np.zeros((CLASSES, rows, columns))
    for c, y, x in np.ndindex(*expected.shape):
        pool4 = conv4[0, :, 2 * y:2 * y + 2, 2 * x:2 * x + 2].amax(dim=(1, 2)).numpy()
        expected[c, y, x] = weights['conv_skip.weight'][c, :, 0, 0] @ pool4
        expected[c, y, x] += weights['conv_skip.bias'][c]
    scores = np.einsum('ck,kyx->cyx', weights['conv_seg.weight'][..., 0, 0], fc7)
    scores += weights['conv_seg.bias'][:, None, None]
    for i, j in np.ndindex(*scores.shape[1:]):
        for a, b in np.ndindex(4, 4):  # a cell spreads over four, the first a cell before it
            y, x = 2 * i - 1 + a, 2 * j - 1 + b
            if 0 <= y < rows and 0 <= x < columns:
                expected[:, y, x] += weights['upsample.weight'][:, :, a, b].T @ scores[:, i, j]
    np.testing.assert_allclose(head((conv4, pool5))[0].detach().numpy(), expected, atol=1e-10)


def test_the_layers_of_vgg_are_padded_and_have_relu_and_dropout_of_single_values():
    head = make_head(dropout_ratio=0.3)
    pool5 = some_maps(96, 128)[1]
    fc6, fc7 = head.classifier[0], head.classifier[3]
    expected = F.conv2d(pool5, fc6.weight, fc6.bias, padding=3).relu()
    expected = F.conv2d(expected, fc7.weight, fc7.bias).relu()
    torch.testing.assert_close(head.classifier(pool5), expected)
    drops = [m for m in head.modules() if isinstance(m, (nn.Dropout, nn.Dropout2d))]
    assert [(type(m), m.p) for m in drops] == [(nn.Dropout, 0.3)] * 2


def test_the_last_dropout_is_between_fc7_and_the_scores():
    head = make_head(dropout_ratio=0.999999).train()
    head.classifier[2].p = 0.
    nn.init.zeros_(head.conv_skip.weight)
    conv4, pool5 = some_maps(96, 128)
    expected = head.upsample(head.conv_seg.bias[None, :, None, None].expand(1, -1, 3, 4))
    expected = expected + head.conv_skip.bias[:, None, None]
    torch.testing.assert_close(head((conv4, pool5)), expected)


def test_the_maps_are_chosen_by_their_place():
    head, other = make_head(), make_head(in_index=(2, 0))
    conv4, pool5 = some_maps(96, 128)
    assert torch.equal(other((pool5, None, conv4)), head((conv4, pool5)))


# --------------------------------------------------------------------------------- the beginning


@pytest.mark.parametrize('init', [False, True])
def test_no_class_is_preferred_before_training(init):
    head = make_head(random=False)
    if init:
        head.init_weights()
    assert head.conv_seg.weight.eq(0).all() and head.conv_skip.weight.eq(0).all()
    assert head(some_maps(96, 128)).eq(0).all()
    assert head.classifier(some_maps(96, 128)[1]).gt(0).any()


def test_before_training_pool4_is_not_seen_and_the_upsampling_is_bilinear():
    head = make_head(random=False)
    nn.init.normal_(head.conv_seg.weight)
    conv4, pool5 = some_maps(128, 160)
    logits = head((conv4, pool5))
    assert torch.equal(logits, head((conv4 + 1, pool5)))
    scores = head.conv_seg(head.classifier(pool5))
    expected = F.interpolate(scores, scale_factor=2, mode='bilinear', align_corners=False)
    torch.testing.assert_close(logits[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])
    assert not torch.allclose(logits[..., 1:-1, 1:-1], torch.zeros((), dtype=torch.double))


def test_each_class_is_upsampled_from_its_own_scores():
    weight = make_head(random=False).upsample.weight
    for k in range(CLASSES):
        assert weight[k, k].tolist() == np.outer(TENT, TENT).tolist()
    assert weight.count_nonzero() == CLASSES * 16


def test_scores_of_zero_do_not_keep_any_layer_from_learning():
    head = make_head(random=False, dropout_ratio=0.).train()
    before = copy.deepcopy(head.state_dict())
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    maps, label = some_maps(96, 128), torch.randint(0, CLASSES, (1, 6, 8))
    losses = []
    for _ in range(8):
        losses.append(F.cross_entropy(head(maps), label))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert losses[0].item() == pytest.approx(np.log(CLASSES))
    for name, value in head.state_dict().items():
        assert not torch.equal(value, before[name]), name


# ---------------------------------------------------------------------------------- VGG's weights


def vgg_state(channels=CHANNELS[1], width=WIDTH):
    """The classifier of torchvision's VGG, smaller."""
    torch.manual_seed(2)
    layers = dict([('0', nn.Linear(channels * 49, width)), ('3', nn.Linear(width, width)),
                   ('6', nn.Linear(width, 1000))])
    return {f'classifier.{n}.{name}': value.detach().double()
            for n, layer in layers.items() for name, value in layer.named_parameters()}


def fully_connected(pool5, state):
    hidden = pool5.flatten(1)
    for n in (0, 3):
        hidden = F.linear(hidden, state[f'classifier.{n}.weight'], state[f'classifier.{n}.bias'])
        hidden = hidden.relu()
    return hidden


def test_a_7x7_map_gets_from_the_convolutions_what_vggs_layers_say(tmp_path):
    """As configs/_base_/models/fcn16s_vgg16.py loads them; the scores stay at zero."""
    path, state = str(tmp_path / 'vgg.pth'), vgg_state()
    torch.save(dict(state, **{'features.0.weight': torch.zeros(4, 3, 3, 3)}), path)
    head = make_head(random=False, init_cfg=dict(type='Pretrained', checkpoint=path))
    head.init_weights()
    pool5 = some_maps(224, 224, batch=2)[1]
    assert pool5.shape[2:] == (7, 7)
    found = head.classifier(pool5)[:, :, 3, 3]
    torch.testing.assert_close(found, fully_connected(pool5, state))
    assert found.count_nonzero() > 0
    assert head.conv_seg.weight.eq(0).all() and head.conv_skip.weight.eq(0).all()
    assert head.upsample.weight[0, 0, 1, 1] == 0.75 ** 2


def test_loading_leaves_the_callers_weights_as_they_are():
    state = vgg_state()
    make_head().load_state_dict(state, strict=False)
    assert state['classifier.0.weight'].shape == (WIDTH, 49 * CHANNELS[1])


def test_layers_of_another_width_are_named():
    with pytest.raises(RuntimeError, match=r'size mismatch for classifier\.0\.weight'):
        make_head().load_state_dict(vgg_state(width=7), strict=False)


def test_a_trained_model_is_saved_and_loaded_exactly():
    model, other = make_model(), make_model()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


# ---------------------------------------------------------------------------------- in a segmentor


def test_every_parameter_gets_a_gradient():
    """So that DistributedDataParallel need not look for unused ones."""
    model = make_model(dropout_ratio=0.)
    model.init_weights()
    data = model.data_preprocessor(batch_of(50, 70), training=True)
    losses = model(**data, mode='loss')
    losses['decode.loss_ce'].backward()
    assert all(p.grad is not None for p in model.parameters())
    for layer in (model.decode_head.conv_seg, model.decode_head.conv_skip):
        assert layer.weight.grad.count_nonzero() > 0
        nn.init.normal_(layer.weight)
    model.zero_grad()
    model(**data, mode='loss')['decode.loss_ce'].backward()
    assert all(p.grad.count_nonzero() > 0 for p in model.parameters())


def test_the_loss_is_that_of_the_pixels():
    model = make_model(dropout_ratio=0.)
    nn.init.normal_(model.decode_head.conv_seg.weight)
    data = model.data_preprocessor(batch_of(50, 70), training=True)
    logits = model.decode_head(model.backbone(data['inputs']))
    assert logits.shape[2:] == (4, 5)
    label = torch.stack([sample.gt_sem_seg.data[0] for sample in data['data_samples']])
    assert label.shape[1:] == (64, 80)
    full = F.interpolate(logits, (64, 80), mode='bilinear', align_corners=False)
    torch.testing.assert_close(model(**data, mode='loss')['decode.loss_ce'],
                               F.cross_entropy(full, label, ignore_index=255))


def test_a_cell_is_16_pixels_at_test():
    model = make_model().eval()
    nn.init.normal_(model.decode_head.conv_seg.weight)
    batch = batch_of(50, 70, images=1)
    with torch.no_grad():
        data = model.data_preprocessor(copy.deepcopy(batch), training=False)
        logits = model.decode_head(model.backbone(data['inputs']))
        assert logits.shape[2:] == (4, 5)
        full = F.interpolate(logits, (64, 80), mode='bilinear', align_corners=False)
        result = model.test_step(batch)[0]
    torch.testing.assert_close(result.seg_logits.data, full[0, :, :50, :70])


@pytest.mark.parametrize('kwargs, message', [
    (dict(in_channels=512), 'in_channels must be two numbers.*got 512'),
    (dict(in_channels=(8, 8, 8)), r'in_channels must be two numbers.*got \(8, 8, 8\)'),
    (dict(in_channels=(8, 8), in_index=1), 'in_index must be two numbers.*got 1'),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FCN16sHead(channels=WIDTH, num_classes=CLASSES, **kwargs)


@pytest.mark.parametrize('positions, given', [((6, 8), '6x8'), ((2, 4), '2x4')])
def test_maps_that_do_not_fit_are_named(positions, given):
    """Conv5 in place of pool5, or a network that rounds down."""
    conv4 = some_maps(96, 128)[0]
    pool5 = torch.zeros(1, CHANNELS[1], *positions, dtype=torch.double)
    with pytest.raises(ValueError, match=rf'maps of 12x16 and {given}: set out_indices=\(3, 5\)'):
        make_head()((conv4, pool5))
