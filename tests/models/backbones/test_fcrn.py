import copy

import pytest
import torch
import torch.nn as nn
from mmseg.models.backbones import ResNet

from mmseg_ext.models import FCRN

BN = dict(type='BN', requires_grad=True)
NARROW = dict(base_channels=4, stem_channels=4)


def dropouts(net):
    return {name: m.p for name, m in net.named_modules() if isinstance(m, nn.Dropout)}


def randomize_norms(net):
    """Statistics as after a training: with those of a new network a mistake could hide."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.uniform_(-.5, .5)
            module.running_var.uniform_(.5, 1.5)


@pytest.mark.parametrize('size', [(64, 96), (75, 50)], ids=['multiple-of-32', 'any-size'])
@pytest.mark.parametrize('output_stride', [8, 16])
@pytest.mark.parametrize('depth, style', [(18, 'pytorch'), (18, 'caffe'), (50, 'pytorch'),
                                          (50, 'caffe')])
def test_the_cells_of_the_ordinary_network_are_among_ours(depth, style, output_stride, size):
    """The hole algorithm adds cells between those of the stride-32 network and changes none."""
    torch.manual_seed(0)
    ordinary = ResNet(depth, style=style, **NARROW).double()
    ours = FCRN(depth, output_stride, style=style, **NARROW).double()
    ordinary.eval()
    ours.eval()
    randomize_norms(ordinary)
    ours.load_state_dict(ordinary.state_dict())
    image = torch.randn(2, 3, *size, dtype=torch.double)
    with torch.no_grad():
        for stride, expected, actual in zip((4, 8, 16, 32), ordinary(image), ours(image)):
            step = max(stride // output_stride, 1)
            torch.testing.assert_close(actual[..., ::step, ::step], expected)


@pytest.mark.parametrize('output_stride, strides', [(8, [4, 8, 8, 8]), (16, [4, 8, 16, 16])])
def test_the_maps_have_the_strides_asked_for_rounded_up(output_stride, strides):
    maps = FCRN(18, output_stride, **NARROW)(torch.zeros(1, 3, 50, 70))
    assert [tuple(m.shape[2:]) for m in maps] == [(-(-50 // s), -(-70 // s)) for s in strides]


@pytest.mark.parametrize('depth', [18, 50, 101])
def test_parameters_have_the_names_and_shapes_of_the_ordinary_network(depth):
    def shapes(net):
        return {name: tuple(value.shape) for name, value in net.state_dict().items()}

    ours = shapes(FCRN(depth))
    assert ours == shapes(ResNet(depth))
    # torchvision's, which is not needed to run the tests
    assert ours['layer4.1.conv2.weight'] == (512, 512, 3, 3)
    assert {'conv1.weight', 'bn1.running_var', 'layer2.0.downsample.1.bias'} <= set(ours)


def test_pretrained_weights_load_completely(tmp_path):
    ordinary = ResNet(50, **NARROW)
    randomize_norms(ordinary)
    torch.save(dict(ordinary.state_dict(), **{'fc.weight': torch.zeros(2, 2)}), tmp_path / 'r.pth')
    net = FCRN(50, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'r.pth')), **NARROW)
    net.init_weights()
    for name, value in ordinary.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], value)


def test_the_last_blocks_have_dropout_at_the_rates_asked_for():
    assert dropouts(FCRN(50, **NARROW)) == {'layer4.1.dropout': 0.3, 'layer4.2.dropout': 0.5}
    assert dropouts(FCRN(18, dropout=(.1, .2, .4), **NARROW)) == {
        'layer3.1.dropout': .1, 'layer4.0.dropout': .2, 'layer4.1.dropout': .4}
    assert dropouts(FCRN(18, dropout=(), **NARROW)) == {}


@pytest.mark.parametrize('depth', [18, 50])
def test_dropout_drops_the_residual_and_never_the_identity(depth):
    """All but certain dropout leaves the identity of a block exactly.

    A norm layer shifts zeros, so dropout before the last convolution or before its norm layer would
    leave the shift; dropout behind the addition would leave nothing.
    """
    torch.manual_seed(0)
    net = FCRN(depth, dropout=(1 - 1e-12, ) * 2, **NARROW)
    net.train()
    randomize_norms(net)
    first, last = net.layer4[-2], net.layer4[-1]
    x = torch.randn(2, last.conv1.in_channels, 9, 9)
    assert last(x).equal(x.relu())
    x = torch.randn(2, first.conv1.in_channels, 9, 9)
    identity = first.downsample(x) if depth == 18 else x  # of two blocks the first has a shortcut
    assert first(x).equal(identity.relu())
    net.eval()
    assert not first(x).equal(identity.relu())


@pytest.mark.parametrize('rate', [.3, .5])
def test_dropout_drops_single_values_in_training_alone_beside_frozen_norm_layers(rate):
    """Frozen norm layers are switched to eval mode in training; dropout is not."""
    torch.manual_seed(0)
    net = FCRN(50, dropout=(rate, ), **NARROW)
    assert net.norm_eval
    block = net.layer4[2]
    seen = []
    block.dropout.register_forward_hook(  # copies: the block adds the identity in place
        lambda module, inputs, out: seen.append((inputs[0].clone(), out.clone())))
    x = torch.randn(1, block.conv1.in_channels, 40, 40)
    net.train()
    block(x)
    net.eval()
    block(x)
    (before, dropped), (same, kept) = seen
    gone = dropped == 0
    torch.testing.assert_close(dropped[~gone], before[~gone] / (1 - rate))
    assert gone.float().mean(dim=(2, 3)).sub(rate).abs().max() < .1  # in every channel
    assert kept.equal(same) and same.equal(before)


def test_dropout_leaves_the_names_in_a_checkpoint_as_they_are():
    without, with_dropout = FCRN(50, dropout=(), **NARROW), FCRN(50, **NARROW)
    randomize_norms(without)
    with_dropout.load_state_dict(without.state_dict())
    without.eval()
    with_dropout.eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert with_dropout(image)[-1].equal(without(image)[-1])


def test_a_copy_of_the_network_has_dropout_of_its_own():
    """A moving average of the weights keeps such a copy, in eval mode beside the training."""
    net = FCRN(18, dropout=(.5, ), **NARROW)
    image = torch.randn(1, 3, 32, 32)
    average = copy.deepcopy(net)
    average.eval()
    net.train()
    assert average(image)[-1].equal(average(image)[-1])
    assert not net(image)[-1].equal(net(image)[-1])


def test_batch_norm_is_frozen_through_a_training_step():
    net = FCRN(18, **NARROW)
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1.)
    sum(m.square().mean() for m in net(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    convs = {f'{name}.weight' for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    assert changed == convs


def test_batch_norm_trains_where_asked_to():
    net = FCRN(18, norm_cfg=BN, norm_eval=False, **NARROW)
    net.train()
    net(torch.randn(2, 3, 64, 64))[-1].mean().backward()
    assert net.layer4[1].bn2.weight.grad is not None
    assert net.layer4[1].bn2.num_batches_tracked == 1


def test_frozen_blocks_do_not_start_as_the_identity():
    """With a scale of 0 that is never trained a block would not learn at all."""
    net = FCRN(50, **NARROW)
    net.init_weights()
    assert net.layer4[2].bn3.weight.eq(1).all()


@pytest.mark.parametrize('kwargs, message', [
    (dict(depth=20), r'depth must be one of \[18, 34, 50, 101, 152\], got 20'),
    (dict(output_stride=32), r'output_stride must be one of \[8, 16\], got 32'),
    (dict(style='torch'), "'pytorch' or 'caffe', got 'torch'"),
    (dict(dropout=[.1] * 9), '9 rates, but a network of depth 18 has 8'),
    (dict(dropout=(.3, 1.)), r'below 1, got \(0.3, 1.0\)'),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FCRN(**dict(dict(depth=18), **kwargs))
