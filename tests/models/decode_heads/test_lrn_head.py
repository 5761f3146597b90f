import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import LRNHead
from mmseg_ext.models.decode_heads.stagewise_decode_head import resize_label

WIDTHS = [2, 4, 8, 16, 16, 16]
CE = dict(type='ClassWeightedCrossEntropyLoss')


def encoder_maps(height, width, batch=2):
    return [
        torch.randn(batch, d, -(-height // 2**k), -(-width // 2**k)) for k, d in enumerate(WIDTHS)
    ]


def samples(labels):
    return [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]


def make_head(**kwargs):
    return LRNHead(WIDTHS, **{**dict(num_classes=5, norm_cfg=dict(type='BN'), loss_decode=CE),
                              **kwargs})


def test_stage_sizes_of_the_paper():
    stages = make_head()(encoder_maps(360, 480, batch=1))
    assert [tuple(s.shape) for s in stages] == [(1, 5, 12, 15), (1, 5, 23, 30), (1, 5, 45, 60),
                                                (1, 5, 90, 120), (1, 5, 180, 240),
                                                (1, 5, 360, 480)]


@pytest.mark.parametrize('size', [(61, 83), (33, 32), (1, 40)])
def test_odd_sizes_give_stages_at_the_sizes_of_the_skip_maps(size):
    maps = encoder_maps(*size)
    stages = make_head()(maps)
    assert [s.shape[2:] for s in stages] == [m.shape[2:] for m in reversed(maps)]


def test_stages_equal_equation_2_written_out():
    head = make_head().eval()
    maps = encoder_maps(40, 56)
    stages = head(maps)
    expected = F.conv2d(maps[5], head.top.weight, head.top.bias, padding=1)
    torch.testing.assert_close(stages[0], expected)
    for k in range(2, 7):
        feature = maps[6 - k]  # f_{7-k}, counted from 1
        skip, refine = head.skips[k - 2], head.refinements[k - 2]
        m = F.relu(skip.bn(skip.conv(feature)))
        up = F.interpolate(expected, feature.shape[2:], mode='bilinear', align_corners=False)
        expected = F.conv2d(torch.cat([up, m], 1), refine.weight, refine.bias, padding=1)
        torch.testing.assert_close(stages[k - 1], expected)


@pytest.mark.parametrize('supervision', ['labels', 'logits'])
def test_six_losses_equal_a_hand_made_sum(supervision):
    head = make_head(supervision=supervision, stage_weights=[1, 1, .5, 1, 2, 1])
    stages = head(encoder_maps(37, 50))
    labels = torch.randint(0, 5, (2, 37, 50))
    labels[:, :9] = 255
    losses = head.loss_by_feat(stages, samples(labels))
    assert list(losses) == [f'loss_s{k}' for k in range(1, 7)] + ['acc_seg']
    for k, (logits, weight) in enumerate(zip(stages, [1, 1, .5, 1, 2, 1]), start=1):
        height, width = logits.shape[2:]
        if supervision == 'labels':
            # the pixel in which the centre of the position lies
            rows = [int((i + 0.5) * 37 / height) for i in range(height)]
            columns = [int((j + 0.5) * 50 / width) for j in range(width)]
            target = labels[:, rows][:, :, columns]
        else:
            target = labels
            logits = F.interpolate(logits, (37, 50), mode='bilinear', align_corners=False)
        log_p = logits.log_softmax(1)
        terms = [-log_p[n, target[n, y, x], y, x] for n in range(2)
                 for y in range(target.shape[1]) for x in range(target.shape[2])
                 if target[n, y, x] != 255]
        torch.testing.assert_close(losses[f'loss_s{k}'], weight * sum(terms) / len(terms))


def test_with_the_vgg_the_stages_double_from_pool5_to_the_size_of_the_image():
    """f_5..f_1 are maps before pooling: pooled ones would be a size smaller, s_6 too."""
    backbone = MODELS.build(dict(type='VGG', depth=11, base_channels=2))
    sizes = [tuple(logits.shape[2:]) for logits in make_head()(backbone(torch.rand(1, 3, 64, 96)))]
    assert sizes == [(2, 3), (4, 6), (8, 12), (16, 24), (32, 48), (64, 96)]


@pytest.mark.parametrize('supervision', ['labels', 'logits'])
@pytest.mark.parametrize('stage_weights, logged', [
    ([0, 1, 1, 1, 1, 1], [2, 3, 4, 5, 6]), ([0, 1, 2, 0, 0, 0], [2, 3])])
def test_stages_of_weight_zero_have_no_part_in_the_loss_but_leave_no_parameter_without_a_gradient(
        stage_weights, logged, supervision):
    """DistributedDataParallel waits for every gradient."""
    maps, label = encoder_maps(32, 40), samples(torch.randint(0, 5, (2, 32, 40)))
    heads = []
    for weights in (stage_weights, [1] * 6):
        torch.manual_seed(0)
        heads.append(make_head(stage_weights=weights, supervision=supervision))
    losses, alone = (head.loss(maps, label, {}) for head in heads)
    assert list(losses) == [f'loss_s{k}' for k in logged] + ['acc_seg']
    for k in logged:
        torch.testing.assert_close(
            losses[f'loss_s{k}'], stage_weights[k - 1] * alone[f'loss_s{k}'])
    assert losses['acc_seg'] == alone['acc_seg']
    sum(losses[f'loss_s{k}'] for k in logged).backward()
    assert all(p.grad is not None for p in heads[0].parameters())
    if stage_weights[-1] == 0:
        assert all(p.grad.eq(0).all() for p in heads[0].refinements[4].parameters())


def test_a_stage_of_weight_zero_may_have_infinite_logits():
    head = make_head(stage_weights=[1, 1, 1, 1, 1, 0])
    torch.nn.init.constant_(head.refinements[4].bias, torch.inf)
    losses = head.loss(encoder_maps(32, 32), samples(torch.zeros(2, 32, 32).long()), {})
    assert all(torch.isfinite(losses[f'loss_s{k}']) for k in range(1, 6))


def test_a_list_of_losses_names_the_others_after_themselves():
    head = make_head(loss_decode=[CE, dict(type='DiceLoss', loss_name='loss_dice')])
    losses = head.loss(encoder_maps(32, 32), samples(torch.zeros(2, 32, 32, dtype=torch.long)), {})
    assert {'loss_s1', 'loss_s1_dice', 'loss_s6', 'loss_s6_dice'} <= set(losses)


def test_losses_of_one_name_are_added_as_in_mmseg():
    maps, label = encoder_maps(32, 32), samples(torch.zeros(2, 32, 32, dtype=torch.long))
    dice = dict(type='DiceLoss', loss_name='loss_dice')
    torch.manual_seed(0)
    one = make_head(loss_decode=[CE, dice])
    torch.manual_seed(0)
    two = make_head(loss_decode=[CE, dice, dice])
    torch.testing.assert_close(
        two.loss(maps, label, {})['loss_s3_dice'], 2 * one.loss(maps, label, {})['loss_s3_dice'])


@pytest.mark.parametrize('ignore_index', [255, 77])
def test_a_pixel_sampler_keeps_the_hard_pixels_of_every_stage(ignore_index):
    """Of each stage alone; the two coarsest have fewer pixels than are to be kept."""
    head = make_head(sampler=dict(type='BootstrapPixelSampler', min_kept=20),
                     ignore_index=ignore_index, stage_weights=[1, 1, 3, 1, 1, 1])
    label = torch.randint(0, 5, (2, 32, 48))
    label[0, :9] = ignore_index
    stages = head(encoder_maps(32, 48))
    losses = head.loss_by_feat(stages, samples(label))
    for k, logits in enumerate(stages, start=1):
        target = resize_label(label[:, None], logits.shape[2:])[:, 0]
        each = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction='none')
        hardest = each[target != ignore_index].sort().values[-20:]
        assert (len(hardest) < 20) == (k <= 2)
        torch.testing.assert_close(
            losses[f'loss_s{k}'], (3 if k == 3 else 1) * hardest.mean())


def test_every_parameter_gets_a_gradient_and_all_ignored_is_zero():
    """An unused parameter or a missing graph stops distributed training."""
    head = make_head()
    losses = head.loss(encoder_maps(32, 32), samples(torch.full((2, 32, 32), 255)), {})
    total = sum(losses[f'loss_s{k}'] for k in range(1, 7))
    total.backward()
    assert total == 0
    assert all(p.grad is not None for p in head.parameters())


def test_skip_activation_can_be_left_out():
    """As in the same authors' G-FRNet: then m_k has negative values too."""
    feature = torch.randn(2, 2, 8, 8)
    assert make_head().skips[4](feature).min() >= 0
    assert make_head(skip_act_cfg=None).skips[4](feature).min() < 0


def test_prediction_has_the_size_of_the_image():
    head = make_head()
    metas = [dict(img_shape=(60, 80), pad_shape=(61, 83))] * 2
    maps = encoder_maps(61, 83)
    assert head.predict(maps, metas, {}).shape == (2, 5, 61, 83)
    stages = head.predict_stages(maps, metas, {})
    assert [s.shape for s in stages] == [(2, 5, 61, 83)] * 6
    torch.testing.assert_close(stages[-1], head.predict(maps, metas, {}))


@pytest.mark.parametrize('kwargs, message', [
    (dict(supervision='both'), "'labels' or 'logits', got 'both'"),
    (dict(stage_weights=[1, 2]), '6 stages, but stage_weights has 2'),
    (dict(loss_decode=dict(**CE, class_weight=[1, 2])), '2 class weights, but the head has 5'),
    (dict(stage_weights=[0] * 6), 'learns from at least one stage'),
    (dict(dropout_ratio=0.1), 'LRNHead has no dropout, as in the paper, got dropout_ratio=0.1'),
    *[(dict(num_classes=2, out_channels=1, loss_decode=loss),
       f"{loss['type']} needs a logit for each class.*out_channels=1.*use_sigmoid=True")
      for loss in (CE, dict(type='CrossEntropyLoss'), dict(type='LovaszLoss', reduction='none'),
                   dict(type='TverskyLoss'), dict(type='SobelEdgeLoss'),
                   dict(type='BootstrappedCrossEntropyLoss'))],
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_head(**kwargs)


def test_a_dropout_of_zero_can_be_said():
    assert make_head(dropout_ratio=0).dropout is None


def test_one_logit_learns_and_is_scored_by_its_threshold():
    head = make_head(num_classes=2, out_channels=1, threshold=0.7, loss_decode=[
        dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True),
        dict(type='LovaszLoss', loss_type='binary', reduction='none')])
    label = torch.randint(0, 2, (2, 32, 40))
    label[0, :9] = 255
    stages = head(encoder_maps(32, 40))
    stages[-1] = stages[-1] * 9  # on both sides of the threshold
    losses = head.loss_by_feat(stages, samples(label))
    for k, logits in enumerate(stages, start=1):
        target = resize_label(label[:, None], logits.shape[2:])[:, 0]
        valid = target != 255
        expected = F.binary_cross_entropy_with_logits(
            logits[:, 0][valid], target[valid].float())
        torch.testing.assert_close(losses[f'loss_s{k}'], expected)
    predicted = stages[-1][:, 0].sigmoid() > 0.7
    assert predicted.any() and not predicted.all()
    right = (predicted == label.bool())[label != 255].float().mean()
    torch.testing.assert_close(losses['acc_seg'].squeeze(), 100 * right)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad.abs().sum() > 0 for p in head.refinements[4].parameters())


def test_it_overfits_two_images():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='VGG', depth=11, base_channels=8, norm_cfg=dict(type='BN')),
            decode_head=dict(
                type='LRNHead', in_channels=[8, 16, 32, 64, 64, 64], num_classes=4,
                norm_cfg=dict(type='BN'), loss_decode=CE)))
    images, labels = torch.randn(2, 3, 48, 64), torch.zeros(2, 48, 64, dtype=torch.long)
    labels[0, 10:30, 8:40], labels[1, :, 50:53], labels[1, 20:28] = 1, 2, 3
    images += labels[:, None]  # something to learn
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        losses = model.loss(images, samples(labels))
        optimizer.zero_grad()
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        optimizer.step()
    assert losses['decode.acc_seg'] > 95
