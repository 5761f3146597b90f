import copy
from types import SimpleNamespace

import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmseg_ext.engine.hooks import ChannelsLastHook


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8))


def changed(model):
    ChannelsLastHook().before_run(SimpleNamespace(model=model))
    return model


def is_channels_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last)


def test_maps_of_contiguous_images_become_channels_last():
    images = torch.randn(2, 3, 16, 16)
    assert not is_channels_last(network()(images))
    assert is_channels_last(changed(network())(images))


def test_values_and_gradients_stay_the_same():
    images = torch.randn(2, 3, 16, 16)
    model, expected = changed(network()).double(), network().double()
    for net in (model, expected):
        net(images.double()).square().mean().backward()
    for found, wanted in zip(model.parameters(), expected.parameters()):
        torch.testing.assert_close(found.grad, wanted.grad)


def test_an_optimizer_and_a_checkpoint_of_before_go_on():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = copy.deepcopy(model.state_dict())
    changed(model).load_state_dict(weights)
    model(torch.randn(2, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    assert is_channels_last(model[3].weight) and is_channels_last(model[0].weight)
    assert not torch.equal(model[0].weight, weights['0.weight'])


def test_a_model_in_a_wrapper_is_changed(tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        wrapped = changed(MMDistributedDataParallel(network()))
        assert is_channels_last(wrapped.module[0].weight)
        wrapped.module(torch.randn(2, 3, 16, 16)).mean().backward()
        del wrapped
    finally:
        torch.distributed.destroy_process_group()
