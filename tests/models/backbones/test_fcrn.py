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


def test_dropout_sits_before_the_last_convolution_of_the_last_blocks():
    assert dropouts(FCRN(50, **NARROW)) == {
        'layer4.1.conv3.dropout': 0.3, 'layer4.2.conv3.dropout': 0.5}
    assert dropouts(FCRN(18, dropout=(.1, .2, .4), **NARROW)) == {
        'layer3.1.conv2.dropout': .1, 'layer4.0.conv2.dropout': .2, 'layer4.1.conv2.dropout': .4}
    assert dropouts(FCRN(18, dropout=(), **NARROW)) == {}


def test_dropout_drops_single_values_in_training_alone():
    torch.manual_seed(0)
    conv = FCRN(18, dropout=(.5, ), **NARROW).layer4[1].conv2
    seen = []
    conv.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))  # after ours
    ones = torch.ones(1, 32, 20, 20)
    conv.train()(ones)
    conv.eval()(ones)
    assert set(seen[0].unique().tolist()) == {0, 2}
    assert (seen[0] == 0).float().mean(dim=(2, 3)).sub(.5).abs().max() < .2  # in every channel
    assert seen[1].equal(ones)


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
