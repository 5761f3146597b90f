import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.models import DeepLabV2Head

CE = dict(type='CrossEntropyLoss', avg_non_ignore=True)


def make_head(**kwargs):
    return DeepLabV2Head(4, **dict(dict(num_classes=5, loss_decode=CE), **kwargs))


def samples(height, width):
    label = torch.randint(0, 5, (2, 1, height, width))
    label[:, :, :3] = 255
    return [SegDataSample(gt_sem_seg=PixelData(data=data)) for data in label]


def convolutions(head):
    return [m for m in head.modules() if isinstance(m, nn.Conv2d)]


def sum_over_taps(feature, branches):
    """Logits with a loop over the branches, the cells and the nine taps of each."""
    n, _, height, width = feature.shape
    logits = torch.zeros(n, branches[0][1].shape[0], height, width, dtype=feature.dtype)
    for dilation, weight, bias in branches:
        for y in range(height):
            for x in range(width):
                logits[:, :, y, x] += bias
                for i in range(3):
                    for j in range(3):
                        v, u = y + dilation * (i - 1), x + dilation * (j - 1)
                        if 0 <= v < height and 0 <= u < width:
                            logits[:, :, y, x] += feature[:, :, v, u] @ weight[:, :, i, j].T
    return logits


@pytest.mark.parametrize('dilations', [(1, 3), (2, ), (6, 12, 18, 24)],
                         ids=['small', 'one', 'wider-than-the-map'])
def test_the_logits_are_the_sum_over_the_taps_of_all_branches(dilations):
    torch.manual_seed(0)
    head = make_head(dilations=dilations).double()
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    feature = torch.randn(2, 4, 8, 10, dtype=torch.double)
    with torch.no_grad():
        branches = [(d, conv.weight, conv.bias) for d, conv in zip(dilations, convolutions(head))]
        torch.testing.assert_close(head((feature, )), sum_over_taps(feature, branches))


def test_a_logit_sees_the_middle_and_eight_cells_at_each_of_the_papers_rates():
    head = make_head()
    for conv in convolutions(head):
        nn.init.ones_(conv.weight)
    feature = torch.rand(1, 4, 61, 61, requires_grad=True)
    head((feature, ))[0, 0, 30, 30].backward()
    seen = {(y - 30, x - 30) for y, x in feature.grad[0, 0].nonzero().tolist()}
    assert seen == {(i * rate, j * rate) for rate in (6, 12, 18, 24)
                    for i in (-1, 0, 1) for j in (-1, 0, 1)}


def test_there_is_nothing_but_the_branches():
    """A parameter without a gradient would stop training on several GPUs."""
    shapes = [tuple(p.shape) for p in make_head().parameters()]
    assert shapes == [(5, 4, 3, 3), (5, )] * 4


def test_every_branch_starts_small():
    head = make_head()
    head.init_weights()
    for conv in convolutions(head):
        assert conv.weight.std().item() == pytest.approx(0.01, rel=.2)
        assert conv.bias.eq(0).all()


def test_dropout_drops_whole_channels_before_the_branches_if_asked_for():
    assert make_head().dropout is None
    torch.manual_seed(0)
    head = make_head(dropout_ratio=.5).train()
    seen = []
    for conv in convolutions(head):
        conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    head((torch.ones(8, 4, 3, 3), ))
    assert all(feature is seen[0] for feature in seen)
    assert set(seen[0].unique().tolist()) == {0, 2}
    assert seen[0].flatten(2).std(dim=2).eq(0).all()


def test_maps_of_several_stages_can_be_joined():
    head = DeepLabV2Head([3, 4], num_classes=5, in_index=[0, 2], input_transform='resize_concat')
    logits = head((torch.randn(2, 3, 8, 8), None, torch.randn(2, 4, 4, 4)))
    assert logits.shape == (2, 5, 8, 8)


def test_the_loss_is_that_of_the_upsampled_logits():
    head = make_head(loss_decode=[CE, dict(CE, loss_name='loss_twice', loss_weight=2.)])
    features, truth = (torch.randn(2, 4, 6, 8), ), samples(48, 64)
    losses = head.loss(features, truth, {})
    full = F.interpolate(head(features), (48, 64), mode='bilinear', align_corners=False)
    label = torch.cat([sample.gt_sem_seg.data for sample in truth])
    expected = F.cross_entropy(full, label, ignore_index=255)
    torch.testing.assert_close(losses['loss_ce'], expected)
    torch.testing.assert_close(losses['loss_twice'], 2 * expected)


def test_mmsegs_own_sampler_trains_it():
    head = make_head(dilations=(1, 2), sampler=dict(type='OHEMPixelSampler', min_kept=4))
    head.loss((torch.randn(2, 4, 6, 8), ), samples(48, 64), {})['loss_ce'].backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize('dilations', [(), (6, 0)])
def test_wrong_dilations_are_named(dilations):
    with pytest.raises(ValueError, match='at least 1, got'):
        make_head(dilations=dilations)
