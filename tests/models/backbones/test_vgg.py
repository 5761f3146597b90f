import os

import pytest
import torch
import torch.nn as nn
from mmengine.runner import load_checkpoint

from mmseg_ext.models import VGG

BN = dict(type='BN')


def torchvision_state_dict(depth_convs, batch_norm, base=4):
    """Weights under the names that torchvision gives a VGG, with its classifier."""
    state, layer, channels = {}, 0, 3
    for convs, width in zip(depth_convs, (1, 2, 4, 8, 8)):
        for _ in range(convs):
            state[f'features.{layer}.weight'] = torch.randn(base * width, channels, 3, 3)
            state[f'features.{layer}.bias'] = torch.randn(base * width)
            channels = base * width
            if batch_norm:
                for name in ('weight', 'bias', 'running_mean', 'running_var'):
                    state[f'features.{layer + 1}.{name}'] = torch.rand(channels)
                state[f'features.{layer + 1}.num_batches_tracked'] = torch.tensor(7)
                layer += 1
            layer += 2  # convolution and ReLU
        layer += 1  # pooling
    state['classifier.0.weight'] = torch.randn(2, 2)
    return state


VGG16 = (2, 2, 3, 3, 3)


def test_sizes_are_rounded_up_for_the_papers_input():
    maps = VGG(base_channels=2)(torch.zeros(1, 3, 360, 480))
    assert [tuple(m.shape[2:]) for m in maps] == [(360, 480), (180, 240), (90, 120), (45, 60),
                                                  (23, 30), (12, 15)]


@pytest.mark.parametrize('size', [(1, 1), (33, 47), (2, 65)])
def test_any_input_size_works(size):
    maps = VGG(base_channels=2)(torch.zeros(1, 3, *size))
    assert [tuple(m.shape[2:]) for m in maps] == [
        tuple(-(-s // 2**k) for s in size) for k in range(6)
    ]


def test_stage_maps_are_taken_before_pooling():
    """Pooling map k gives the input of stage k + 1, and the last map is the fifth pooling."""
    net = VGG(base_channels=2, norm_cfg=BN).eval()
    maps = net(torch.randn(1, 3, 40, 56))
    pools = [i for i, layer in enumerate(net.features) if isinstance(layer, nn.MaxPool2d)]
    for k in range(5):
        end = pools[k + 1] if k < 4 else pools[k] + 1
        following = net.features[pools[k]:end](maps[k])
        torch.testing.assert_close(following, maps[k + 1])


def test_channels_and_names_are_torchvisions():
    net = VGG(depth=16)
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    assert shapes['features.0.weight'] == (64, 3, 3, 3)
    assert shapes['features.28.weight'] == (512, 512, 3, 3)
    assert len(shapes) == 26
    assert 'features.40.weight' in VGG(depth=16, base_channels=2, norm_cfg=BN).state_dict()


def test_out_indices_choose_the_maps():
    maps = VGG(base_channels=2, out_indices=(5, 1))(torch.zeros(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [2, 32]


def test_stages_that_nobody_asks_for_have_no_parameters():
    """Distributed training stops at parameters that get no gradient."""
    net = VGG(base_channels=2, out_indices=(3, 1), norm_cfg=BN)
    assert [m.shape[-1] for m in net(torch.zeros(1, 3, 64, 64))] == [8, 32]
    sum(m.sum() for m in net(torch.zeros(1, 3, 64, 64))).backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize('batch_norm', [False, True])
def test_weights_of_stages_that_are_not_built_are_left_out(batch_norm):
    state = torchvision_state_dict(VGG16, batch_norm)
    net = VGG(base_channels=4, out_indices=(2, ), norm_cfg=BN if batch_norm else None)
    result = net.load_state_dict(dict(state), strict=False)
    assert not result.unexpected_keys and not result.missing_keys
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, state[key])


@pytest.mark.parametrize('batch_norm', [False, True])
def test_torchvision_weights_load_completely(batch_norm, tmp_path):
    state = torchvision_state_dict(VGG16, batch_norm)
    torch.save(state, tmp_path / 'vgg.pth')
    net = VGG(base_channels=4, norm_cfg=BN if batch_norm else None,
              init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vgg.pth')))
    net.init_weights()
    loaded = net.state_dict()
    assert set(loaded) == {k for k in state if k.startswith('features')}
    for key, value in loaded.items():
        torch.testing.assert_close(value, state[key])


# features.N of the 13 convolutions of torchvision's vgg16, and of vgg16_bn
CONVS_OF_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
CONVS_OF_VGG16_BN = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)


@pytest.mark.parametrize('count, out_indices', [(13, (0, 1, 2, 3, 4, 5)), (7, (2, ))])
def test_plain_weights_load_into_the_batch_norm_variant_conv_by_conv(count, out_indices, tmp_path):
    """Read from a file as a config reads it; the norm layers stay new, biases come along."""
    state = torchvision_state_dict(VGG16, batch_norm=False)
    torch.save(state, tmp_path / 'vgg.pth')
    net = VGG(base_channels=4, norm_cfg=BN, out_indices=out_indices,
              init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vgg.pth')))
    net.init_weights()
    loaded = net.state_dict()
    for theirs, ours in list(zip(CONVS_OF_VGG16, CONVS_OF_VGG16_BN))[:count]:
        for name in ('weight', 'bias'):
            assert loaded.pop(f'features.{ours}.{name}').equal(state[f'features.{theirs}.{name}'])
    # what is left are the norm layers
    new = dict(weight=1, bias=0, running_mean=0, running_var=1, num_batches_tracked=0)
    assert len(loaded) == count * len(new)
    for key, value in loaded.items():
        assert value.eq(new[key.rpartition('.')[2]]).all(), key


def test_weights_load_when_the_backbone_is_part_of_a_model():
    """The renumbering must see its own part of a prefixed state dict, and leave the rest."""
    model = nn.ModuleDict(dict(backbone=VGG(base_channels=4, norm_cfg=BN), head=nn.Conv2d(1, 1, 1)))
    state = {f'backbone.{k}': v for k, v in torchvision_state_dict(VGG16, False).items()
             if k.startswith('features')}
    result = model.load_state_dict(dict(state), strict=False)
    assert not result.unexpected_keys
    torch.testing.assert_close(model['backbone'].features[3].weight.data,
                               state['backbone.features.2.weight'])


def test_weights_of_another_depth_are_refused():
    with pytest.raises(RuntimeError, match='13 convolutions, VGG-19 has 16'):
        VGG(depth=19, base_channels=4).load_state_dict(torchvision_state_dict(VGG16, False), False)


def test_batch_norm_weights_are_refused_without_batch_norm():
    with pytest.raises(RuntimeError, match='batch norm'):
        VGG(base_channels=4).load_state_dict(torchvision_state_dict(VGG16, True), strict=False)


def test_default_initialization_keeps_the_signal_through_16_layers():
    torch.manual_seed(0)
    net = VGG(base_channels=16)
    net.init_weights()
    std = net(torch.randn(1, 3, 64, 64))[4].std()
    assert 0.1 < std < 10


@pytest.mark.parametrize('kwargs, message', [
    (dict(depth=18), r'\[11, 13, 16, 19\], got 18'),
    (dict(out_indices=(6, )), 'from 0 to 5'),
    (dict(out_indices=()), 'from 0 to 5'),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        VGG(**kwargs)


@pytest.mark.skipif('MMSEG_EXT_DATA' not in os.environ, reason='needs real weights')
@pytest.mark.parametrize('norm_cfg', [None, BN])
def test_a_trunk_from_disk_loads(norm_cfg):
    path = os.path.join(os.environ['MMSEG_EXT_DATA'], '../weights/vgg16_trunk_imagenet_hed.pth')
    net = VGG(norm_cfg=norm_cfg)
    state = load_checkpoint(net, path, map_location='cpu')
    last = [layer for layer in net.features if isinstance(layer, nn.Conv2d)][-1]
    torch.testing.assert_close(last.weight.data, state['features.28.weight'].float())
