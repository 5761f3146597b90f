import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import TASK_UTILS
from mmseg.structures import SegDataSample
from mmseg.structures.sampler import BasePixelSampler

from mmseg_ext.models import FCRNHead
from mmseg_ext.models.decode_heads.fcrn_head import sample_labels

CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)


def make_head(**kwargs):
    kwargs = dict(dict(kernel_size=3, dilation=2, loss_decode=CE), **kwargs)
    return FCRNHead(4, num_classes=5, **kwargs)


def samples(label):
    return [SegDataSample(gt_sem_seg=PixelData(data=data)) for data in label]


def some_labels(height, width):
    label = torch.randint(0, 5, (2, 1, height, width))
    label[:, :, :3] = 255
    return label


def seen_positions(head):
    """Side of the square of positions that a logit depends on."""
    nn.init.ones_(head.conv_seg.weight)
    feature = torch.rand(1, 4, 81, 81, requires_grad=True)
    head((feature, ))[0, 0, 40, 40].backward()
    rows = feature.grad.abs().sum(dim=(0, 1, 3)).nonzero()
    return int(rows.max() - rows.min()) + 1


@pytest.mark.parametrize('kernel_size, dilation', [(3, 6), (5, 12), (7, 6), (1, 1)])
def test_the_field_of_view_is_that_of_the_tables(kernel_size, dilation):
    head = make_head(kernel_size=kernel_size, dilation=dilation)
    assert seen_positions(head) == dilation * (kernel_size - 1) + 1


def test_two_layers_see_the_field_of_both():
    head = make_head(classifier='multi-layer', hidden_channels=6, dilation=12)
    for conv in (m for m in head.modules() if isinstance(m, nn.Conv2d)):
        nn.init.ones_(conv.weight)
    assert seen_positions(head) == 2 * 12 * 2 + 1


@pytest.mark.parametrize('classifier', ['linear', 'multi-layer'])
@pytest.mark.parametrize('kernel_size, dilation', [(3, 6), (5, 12), (7, 1)])
def test_the_logits_have_the_size_of_the_map(classifier, kernel_size, dilation):
    head = make_head(classifier=classifier, kernel_size=kernel_size, dilation=dilation)
    assert head((torch.randn(2, 4, 9, 11), )).shape == (2, 5, 9, 11)


def test_the_multi_layer_classifier_has_512_channels_and_no_norm():
    convs = [(type(m), tuple(m.weight.shape)) for m in
             make_head(classifier='multi-layer').modules() if list(m.parameters(recurse=False))]
    assert sorted(shape for _, shape in convs) == [(5, 512, 3, 3), (512, 4, 3, 3)]
    assert {kind for kind, _ in convs} == {nn.Conv2d}


def test_the_multi_layer_classifier_is_not_linear():
    head = make_head(classifier='multi-layer', hidden_channels=6).double()
    x, y = torch.randn(2, 1, 4, 9, 9, dtype=torch.double)
    zero = head((torch.zeros_like(x), ))
    assert not torch.allclose(head((x + y, )), head((x, )) + head((y, )) - zero)


def test_every_layer_starts_small():
    head = make_head(classifier='multi-layer')
    head.init_weights()
    for conv in (m for m in head.modules() if isinstance(m, nn.Conv2d)):
        assert conv.weight.std().item() == pytest.approx(0.01, rel=.2)
        assert conv.bias.eq(0).all()


def test_dropout_is_off_unless_asked_for():
    assert make_head().dropout is None
    assert make_head(dropout_ratio=.5).dropout.p == .5


def test_a_crop_of_504_has_the_papers_3969_points():
    rows = torch.arange(504)[:, None].expand(504, 504)
    grid = sample_labels(rows[None, None], 8)
    assert grid.shape == (1, 1, 63, 63)
    assert grid[0, 0, :, 0].tolist() == list(range(4, 504, 8))
    assert sample_labels(rows.T[None, None], 8)[0, 0, 0].tolist() == list(range(4, 504, 8))


@pytest.mark.parametrize('size, stride, inside', [((500, 9), 8, (62, 1)), ((504, 16), 16, (31, 1)),
                                                  ((1, 3), 8, (0, 0)), ((5, 7), 1, (5, 7))])
def test_points_outside_the_image_are_ignored(size, stride, inside):
    grid = sample_labels(torch.zeros(1, 1, *size, dtype=torch.long), stride, ignore_index=7)
    assert grid.shape[2:] == tuple(-(-side // stride) for side in size)
    assert grid.dtype == torch.long
    assert (grid[..., :inside[0], :inside[1]] == 0).all()
    assert (grid == 0).sum() == inside[0] * inside[1]


@pytest.mark.parametrize('size, positions', [((48, 64), (6, 8)), ((45, 57), (6, 8))])
def test_the_loss_on_the_grid_compares_each_position_with_one_label(size, positions):
    head = make_head(label_stride=8)
    logits, label = torch.randn(2, 5, *positions), some_labels(*size)
    losses = head.loss_by_feat(logits, samples(label))
    expected = F.cross_entropy(logits, sample_labels(label, 8).squeeze(1), ignore_index=255)
    torch.testing.assert_close(losses['loss_ce'], expected)


def test_accuracy_is_measured_on_the_same_grid():
    label = torch.zeros(1, 1, 32, 32, dtype=torch.long)
    label[:, :, 4::8, 4::8] = 1
    logits = torch.zeros(1, 5, 4, 4)
    logits[:, 1] = 9.
    assert make_head(label_stride=8).loss_by_feat(logits, samples(label))['acc_seg'] == 100
    full = make_head(label_stride=None).loss_by_feat(logits, samples(label))['acc_seg']
    assert full == pytest.approx(100 / 64)


def test_without_a_label_stride_every_pixel_counts():
    logits, label = torch.randn(2, 5, 6, 8), some_labels(45, 57)
    losses = make_head().loss_by_feat(logits, samples(label))
    full = F.interpolate(logits, (45, 57), mode='bilinear', align_corners=False)
    expected = F.cross_entropy(full, label.squeeze(1), ignore_index=255)
    torch.testing.assert_close(losses['loss_ce'], expected)


def test_a_sampler_and_every_loss_see_the_grid():
    seen = []

    @TASK_UTILS.register_module(name='RecordingSampler', force=True)
    class RecordingSampler(BasePixelSampler):

        def __init__(self, context):
            super().__init__()
            self.context = context

        def sample(self, seg_logit, seg_label):
            seen.extend([tuple(seg_logit.shape), tuple(seg_label.shape)])
            return torch.full(seg_label.squeeze(1).shape, 3.)

    losses = [CE, dict(CE, loss_name='loss_twice', loss_weight=2.)]
    try:
        head = make_head(label_stride=8, sampler=dict(type='RecordingSampler'), loss_decode=losses)
    finally:
        TASK_UTILS.module_dict.pop('RecordingSampler')
    logits, label = torch.randn(2, 5, 6, 8), some_labels(45, 57)
    weighted = head.loss_by_feat(logits, samples(label))
    assert seen == [(2, 5, 6, 8), (2, 1, 6, 8)]
    plain = make_head(label_stride=8).loss_by_feat(logits, samples(label))['loss_ce']
    torch.testing.assert_close(weighted['loss_ce'], 3 * plain)
    torch.testing.assert_close(weighted['loss_twice'], 6 * plain)


def test_mmsegs_own_sampler_trains_it():
    head = make_head(label_stride=8, sampler=dict(type='OHEMPixelSampler', min_kept=4))
    features = (torch.randn(2, 4, 6, 8), )
    head.loss(features, samples(some_labels(48, 64)), {})['loss_ce'].backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_a_grid_that_is_not_the_backbones_is_named():
    with pytest.raises(ValueError, match='makes 6x8 points of 48x64 labels, but .* 3x4 positions'):
        make_head(label_stride=8).loss_by_feat(
            torch.zeros(2, 5, 3, 4), samples(some_labels(48, 64)))


@pytest.mark.parametrize('kwargs, message', [
    (dict(classifier='mlp'), "'linear' or 'multi-layer', got 'mlp'"),
    (dict(kernel_size=4), 'must be odd, got 4'),
    (dict(dilation=0), 'at least 1, got 0'),
    (dict(label_stride=0), 'None or at least 1, got 0'),
    (dict(label_stride=8, ignore_index=None), 'needs an ignore_index'),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_head(**kwargs)
