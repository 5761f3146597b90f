"""The network in the loss: frozen, in no checkpoint, and read from a file."""
import copy
import warnings

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from semeda_loss_cases import batch, random_loss
from torch.utils.data import DataLoader

from mmseg_ext.models import SemanticEdgeDetector, SEMEDALoss

UNTRAINED = 'SEMEDALoss compares features of a network that was not trained'


def weights_of(loss):
    return [value.clone() for value in loss.edge_net.buffers()]


def pretrained(filename):
    return dict(type='Pretrained', checkpoint=str(filename))


def make_head(loss_decode, num_classes=3):
    torch.manual_seed(0)
    return FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=num_classes,
                   loss_decode=loss_decode)


def head_loss(head, label):
    feature = torch.randn(2, 4, *label.shape[1:], generator=torch.Generator().manual_seed(0))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label]
    return head.loss((feature, ), samples, {})


# ------------------------------------------------------------------------------------------ frozen


def make_model(loss_decode, num_classes=3):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='EncoderDecoder',
        backbone=dict(type='VGG', depth=11, base_channels=2),
        decode_head=dict(type='FCNHead', in_channels=16, channels=4, num_convs=1,
                         num_classes=num_classes, loss_decode=loss_decode)))


def train_step(model, wrapper, size=32):
    images = torch.randn(2, 3, size, size)
    label = torch.randint(0, 3, (2, 1, size, size))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=one)) for one in label]
    losses = model.loss(images, samples)
    wrapper.update_params(sum(value for name, value in losses.items() if 'loss' in name))


def test_the_network_is_no_part_of_optimizer_or_checkpoint_and_does_not_change():
    ours = dict(type='SEMEDALoss', num_classes=3)
    model = make_model([dict(type='CrossEntropyLoss'), ours])
    plain = make_model(dict(type='CrossEntropyLoss'))
    loss = model.decode_head.loss_decode[1]
    loss.is_ready = True
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_parameters()] == [
        name for name, _ in plain.named_parameters()]
    wrapper = build_optim_wrapper(model, dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=0.5)))
    trained = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    assert not trained & {id(value) for value in loss.edge_net.tensors().values()}
    before, backbone = weights_of(loss), model.backbone.state_dict()
    backbone = {name: value.clone() for name, value in backbone.items()}
    model.train()
    assert loss.training and not any(m.training for m in loss.edge_net.modules())
    for _ in range(2):
        train_step(model, wrapper)
    assert all(torch.equal(*pair) for pair in zip(weights_of(loss), before))
    assert any((value != backbone[name]).any()
               for name, value in model.backbone.state_dict().items())


@pytest.mark.filterwarnings(f'ignore:{UNTRAINED}')
@pytest.mark.parametrize('num_classes', [3, None])
def test_an_average_of_the_model_goes_beside_it(num_classes, tmp_path):
    """mmengine's EMAHook copies the model before the classes of the head are known to the loss."""
    model = make_model([dict(type='CrossEntropyLoss'),
                        dict(type='SEMEDALoss', num_classes=num_classes)])
    model.data_preprocessor = MODELS.build(dict(type='SegDataPreProcessor', size_divisor=1))
    samples = [dict(inputs=torch.rand(3, 32, 32), data_samples=SegDataSample(
        gt_sem_seg=PixelData(data=torch.randint(0, 3, (1, 32, 32))))) for _ in range(4)]
    runner = Runner(
        model, str(tmp_path), default_scope='mmseg', log_level='WARNING',
        train_dataloader=DataLoader(samples, batch_size=2, collate_fn=pseudo_collate),
        train_cfg=dict(by_epoch=False, max_iters=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='EMAHook', momentum=0.5)],
        experiment_name=f'ema_{num_classes}')
    start = [p.detach().clone() for p in model.parameters()]
    runner.train()
    assert model.decode_head.loss_decode[1].is_ready  # its loss was computed
    averaged = next(hook for hook in runner.hooks if hasattr(hook, 'ema_model')).ema_model.module
    assert not any('edge_net' in name for name, _ in averaged.named_buffers())
    names = [name for name, _ in model.named_parameters()]
    moved = dict(zip(names, zip(start, model.parameters(), averaged.parameters())))
    first, last, mean = moved['decode_head.conv_seg.weight']
    assert not torch.equal(first, last) and not torch.equal(mean, last)
    # the statistics of batch norm are those of the model, each in its place
    for (name, own), (other_name, other) in zip(model.named_buffers(), averaged.named_buffers()):
        assert name == other_name and torch.equal(own, other)


def test_a_copy_has_the_network_and_its_own_buffers():
    pred, label = batch()
    loss = random_loss()
    copied = copy.deepcopy(loss)
    torch.testing.assert_close(copied(pred, label), loss(pred, label))
    for value in copied.edge_net.buffers():
        value.zero_()
    assert loss(pred, label) > 0.1


def test_the_network_follows_the_device_of_the_model():
    loss = random_loss().to('meta')
    assert all(value.device.type == 'meta' for value in loss.edge_net.buffers())


# -------------------------------------------------------------------------------- where it is from


@pytest.fixture
def checkpoint(tmp_path):
    """Checkpoint of a detector for three classes."""
    torch.manual_seed(1)
    torch.save(dict(state_dict=SemanticEdgeDetector(dict(num_classes=3)).state_dict()),
               tmp_path / 'edges.pth')
    return tmp_path / 'edges.pth'


def stored(checkpoint):
    return list(torch.load(checkpoint, weights_only=True)['state_dict'].values())


@pytest.mark.parametrize('num_classes', [3, None])
@pytest.mark.parametrize('several', [False, True], ids=['alone', 'in a list'])
@pytest.mark.parametrize('initialized', [True, False])
def test_a_file_is_read_when_the_model_is_initialized_or_else_at_the_first_call(
        initialized, several, num_classes, checkpoint, recwarn):
    ours = dict(type='SEMEDALoss', num_classes=num_classes, init_cfg=pretrained(checkpoint))
    head = make_head([dict(type='CrossEntropyLoss'), ours] if several else ours)
    if initialized:
        head.init_weights()
    _, label = batch()
    losses = head_loss(head, label)
    assert losses['loss_semeda'] > 0 and ('loss_ce' in losses) == several
    loss = head.loss_decode[1] if several else head.loss_decode
    assert all(torch.equal(*pair) for pair in zip(weights_of(loss), stored(checkpoint)))
    assert not any(UNTRAINED in str(warning.message) for warning in recwarn)


def test_nothing_is_read_when_it_is_built(tmp_path):
    loss = SEMEDALoss(3, init_cfg=pretrained(tmp_path / 'gone.pth'))
    with pytest.raises(FileNotFoundError, match='no semantic edge network .*tools/train.py'):
        loss(*batch())


def test_a_network_for_other_classes_is_refused(checkpoint):
    loss = SEMEDALoss(5, init_cfg=pretrained(checkpoint))
    with pytest.raises(ValueError, match='made for 3 classes .* with num_classes=5'):
        loss.init_weights()


def test_a_file_of_the_other_kind_of_network_is_refused(checkpoint):
    loss = SEMEDALoss(3, init_cfg=pretrained(checkpoint), class_agnostic=True)
    with pytest.raises(ValueError, match='class_agnostic=False, but class_agnostic=True is asked'):
        loss.init_weights()


def test_without_a_file_and_a_hook_it_warns_once_and_says_what_helps():
    loss = SEMEDALoss()
    with pytest.warns(UserWarning, match=f'{UNTRAINED}.*SemanticEdgeNetHook.*init_cfg'):
        loss(*batch())
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        loss(*batch())


def test_a_head_with_another_number_of_classes_is_refused():
    head = make_head(dict(type='SEMEDALoss', num_classes=21))
    with pytest.raises(ValueError, match='num_classes=21, but the logits of its head have 3'):
        head_loss(head, batch()[1])


def test_a_head_starts_from_the_same_weights_with_the_loss_and_without_it():
    heads = []
    plain = dict(type='CrossEntropyLoss')
    for losses in ([plain], [plain, dict(type='SEMEDALoss', num_classes=3)]):
        torch.manual_seed(0)
        heads.append(FCNHead(in_channels=4, channels=4, num_classes=3, loss_decode=losses))
    for own, other in zip(*(head.parameters() for head in heads)):
        assert torch.equal(own, other)
