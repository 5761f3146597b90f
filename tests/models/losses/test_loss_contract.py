"""What mmseg's heads ask of a loss, of every loss of ours: each is put into a real FCNHead."""
import inspect

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_ext.models.losses  # noqa: F401

LOSSES = [
    name for name, cls in MODELS.module_dict.items()
    if cls.__module__.startswith('mmseg_ext.models.losses')
]
SAMPLER = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=30)
CROSS_ENTROPY = dict(type='CrossEntropyLoss', loss_name='loss_plain', avg_non_ignore=True)
# what is asked here does not depend on its network
pytestmark = pytest.mark.filterwarnings('ignore:SEMEDALoss compares features of a network')


def run_head(loss_decode, label, sampler=None):
    torch.manual_seed(0)
    head = FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=3, sampler=sampler,
                   loss_decode=loss_decode)
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    losses = head.loss((torch.randn(2, 4, 12, 16), ), [sample, sample], {})
    values = [value for name, value in losses.items() if 'loss' in name]
    sum(values).backward()
    assert all(torch.isfinite(v) for v in values)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())
    return losses


def test_there_are_losses():
    assert 'ClassWeightedCrossEntropyLoss' in LOSSES


@pytest.mark.parametrize('sampler', [None, SAMPLER], ids=['all-pixels', 'sampler'])
@pytest.mark.parametrize('beside', [False, True], ids=['alone', 'beside-cross-entropy'])
@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_trains_an_fcn_head(name, beside, sampler):
    label = torch.randint(0, 3, (1, 12, 16))
    label[:, :4] = 255
    loss = dict(type=name, loss_name='loss_ours')
    losses = run_head([CROSS_ENTROPY, loss] if beside else loss, label, sampler)
    assert losses['loss_ours'].ndim == 0 and losses['loss_ours'] > 0
    assert ('loss_plain' in losses) == beside


@pytest.mark.parametrize('sampler', [None, SAMPLER], ids=['all-pixels', 'sampler'])
@pytest.mark.parametrize('name', LOSSES)
def test_a_batch_in_which_nothing_counts_gives_zero_with_a_graph(name, sampler):
    label = torch.full((1, 12, 16), 255)
    assert run_head(dict(type=name, loss_name='loss_ours'), label, sampler)['loss_ours'] == 0


@pytest.mark.parametrize('name', LOSSES)
def test_a_loss_has_mmsegs_arguments_and_its_weight_is_a_factor(name):
    arguments = list(inspect.signature(MODELS.get(name).forward).parameters)
    assert arguments[1:] == ['pred', 'target', 'weight', 'avg_factor', 'reduction_override',
                             'ignore_index', 'kwargs']
    label = torch.randint(0, 3, (1, 12, 16))
    one = run_head(dict(type=name, loss_name='loss_ours'), label)['loss_ours']
    three = run_head(dict(type=name, loss_name='loss_ours', loss_weight=3.), label)['loss_ours']
    torch.testing.assert_close(three, 3 * one)
    assert MODELS.build(dict(type=name)).loss_name.startswith('loss_')
