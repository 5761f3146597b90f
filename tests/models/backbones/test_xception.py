import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead
from mmseg.structures import SegDataSample

from mmseg_ext.models import Xception

FROZEN = dict(norm_cfg=dict(type='BN', requires_grad=False), norm_eval=True)
BASE = 4  # channels of the first convolution of the narrow networks here
NARROW = (32, 91, 128, 256)  # channels of their maps
ENTRY_FLOW = {
    65: [(64, 128, 2), (128, 256, 2), (256, 728, 2)],
    71: [(64, 128, 2), (128, 256, 1), (256, 256, 2), (256, 728, 1), (728, 728, 2)],
}


def blocks(depth, base=32):
    """For each block of the ImageNet network: input, channels, stride, has a shortcut convolution.

    The table of DeepLab's code.
    """
    rows = [(before, (after, ) * 3, stride, True) for before, after, stride in ENTRY_FLOW[depth]]
    rows += [(728, (728, ) * 3, 1, False)] * 16
    rows += [(728, (728, 1024, 1024), 2, True), (1024, (1536, 1536, 2048), 1, False)]
    return [(before * base // 32, [c * base // 32 for c in channels], *rest)
            for before, channels, *rest in rows]


def timm_state_dict(depth, base=BASE):
    """Weights under the names that timm gives them, with the classifier."""
    torch.manual_seed(0)
    state = {}

    def add(conv, norm, before, after, size=3, groups=1):
        shape = (after, before // groups, size, size)
        state[f'{conv}.weight'] = torch.randn(shape) * (2 / (before // groups * size**2))**.5
        for name in ('weight', 'running_var'):
            state[f'{norm}.{name}'] = torch.rand(after) + .5
        for name in ('bias', 'running_mean'):
            state[f'{norm}.{name}'] = torch.rand(after) - .5
        state[f'{norm}.num_batches_tracked'] = torch.tensor(7)

    add('stem.0.conv', 'stem.0.bn', 3, base)
    add('stem.1.conv', 'stem.1.bn', base, 2 * base)
    for number, (before, channels, _, has_shortcut) in enumerate(blocks(depth, base)):
        name = f'blocks.{number}'
        if has_shortcut:
            add(f'{name}.shortcut.conv', f'{name}.shortcut.bn', before, channels[-1], 1)
        for i, after in enumerate(channels, 1):
            conv = f'{name}.stack.conv{i}'
            add(f'{conv}.conv_dw', f'{conv}.bn_dw', before, before, groups=before)
            add(f'{conv}.conv_pw', f'{conv}.bn_pw', before, after, 1)
            before = after
    state['head.fc.weight'] = torch.zeros(1000, before)
    state['head.fc.bias'] = torch.zeros(1000)
    return state


def without_classifier(state):
    return {name: value for name, value in state.items() if not name.startswith('head')}


def imagenet_network(state, depth, x):
    """What DeepLab's code computes without a target stride: its maps at strides 4, 8, 16, 32."""

    def conv(x, conv, norm, stride=1):
        weight = state[f'{conv}.weight']
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2,
                     groups=x.shape[1] // weight.shape[1])
        names = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(state[f'{norm}.{name}'] for name in names), eps=1e-3)

    x = F.relu(conv(x, 'stem.0.conv', 'stem.0.bn', 2))
    x = F.relu(conv(x, 'stem.1.conv', 'stem.1.bn'))
    maps = []
    rows = blocks(depth)
    for number, (*_, stride, has_shortcut) in enumerate(rows):
        is_last = number == len(rows) - 1
        name, y = f'blocks.{number}', x
        for i in (1, 2, 3):
            if i == 3 and stride == 2 and number > 0:
                maps.append(y)
            part = f'{name}.stack.conv{i}'
            y = y if is_last else F.relu(y)
            y = conv(y, f'{part}.conv_dw', f'{part}.bn_dw', stride if i == 3 else 1)
            y = F.relu(y) if is_last else y
            y = conv(y, f'{part}.conv_pw', f'{part}.bn_pw')
            y = F.relu(y) if is_last else y
        if has_shortcut:
            x = conv(x, f'{name}.shortcut.conv', f'{name}.shortcut.bn', stride)
        x = y if is_last else x + y
    return [*maps, x]


@pytest.mark.parametrize('size', [(64, 96), (75, 50)], ids=['multiple-of-32', 'any-size'])
@pytest.mark.parametrize('output_stride', [8, 16, 32])
@pytest.mark.parametrize('depth', [65, 71])
def test_the_cells_of_the_imagenet_network_are_among_ours(depth, output_stride, size):
    """Dilation adds cells between those of the stride-32 network and changes none."""
    state = {k: v.double() for k, v in without_classifier(timm_state_dict(depth)).items()}
    net = Xception(depth, output_stride, base_channels=BASE).double().eval()
    net.load_state_dict(state)
    image = torch.randn(2, 3, *size, dtype=torch.double)
    with torch.no_grad():
        expected_maps, maps = imagenet_network(state, depth, image), net(image)
    assert len(maps) == len(expected_maps) == 4
    for stride, expected, actual in zip((4, 8, 16, 32), expected_maps, maps):
        step = max(stride // output_stride, 1)
        torch.testing.assert_close(actual[..., ::step, ::step], expected)


@pytest.mark.parametrize('output_stride, sides', [(8, (81, 41, 41, 41)), (16, (81, 41, 21, 21)),
                                                  (32, (81, 41, 21, 11))])
@pytest.mark.parametrize('depth', [65, 71])
def test_a_crop_of_321_gives_the_maps_of_the_table(depth, output_stride, sides):
    with torch.device('meta'):  # no values, hence no time
        maps = Xception(depth, output_stride)(torch.zeros(1, 3, 321, 321))
    assert [m.shape[1:] for m in maps] == [
        (channels, side, side) for channels, side in zip((256, 728, 1024, 2048), sides)
    ]


@pytest.mark.parametrize('depth, millions, activations', [(65, 39.92, 52.48),
                                                          (71, 42.34, 69.92)])
def test_parameters_and_activations_are_as_many_as_published(depth, millions, activations):
    """By timm: outputs of convolutions at ImageNet's 299x299, and its classifier's 1000 classes."""
    outputs = [1000]
    with torch.device('meta'):
        net = Xception(depth, output_stride=32)
        for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
            conv.register_forward_hook(lambda conv, _, out: outputs.append(out.numel()))
        net(torch.zeros(1, 3, 299, 299))
    parameters = sum(p.numel() for p in net.parameters()) + 2049 * 1000
    assert round(parameters / 1e6, 2) == millions
    assert round(sum(outputs) / 1e6, 2) == activations


@pytest.mark.parametrize('depth', [65, 71])
def test_weights_of_timm_load_completely(depth, tmp_path):
    state = timm_state_dict(depth)
    torch.save(state, tmp_path / 'x.pth')
    net = Xception(depth, base_channels=BASE,
                   init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth')))
    net.init_weights()
    loaded = net.state_dict()
    assert set(loaded) == set(without_classifier(state))
    for name, value in loaded.items():
        torch.testing.assert_close(value, state[name])


@pytest.mark.parametrize('stored, built, missing', [(65, 71, 'blocks.3.shortcut.conv.weight'),
                                                    (71, 65, 'blocks.19.shortcut.conv.weight')])
def test_weights_of_another_depth_are_refused(stored, built, missing):
    message = rf"lacks \d+ of the \d+ tensors of Xception-{built}, '{missing}' for one"
    with pytest.raises(RuntimeError, match=message):
        Xception(built, base_channels=BASE).load_state_dict(timm_state_dict(stored), strict=False)


def test_weights_of_another_network_are_refused():
    with pytest.raises(RuntimeError, match="have the names of timm's xception71"):
        Xception(base_channels=BASE).load_state_dict({'conv1.weight': torch.zeros(1)}, strict=False)


def test_weights_load_when_the_backbone_is_part_of_a_model():
    """A checkpoint of another part alone is none of its business."""
    model = nn.ModuleDict(dict(backbone=Xception(base_channels=BASE), head=nn.Conv2d(1, 1, 1)))
    model.load_state_dict({'head.bias': torch.zeros(1)}, strict=False)
    state = without_classifier(timm_state_dict(71))
    model.load_state_dict({f'backbone.{k}': v for k, v in state.items()}, strict=False)
    torch.testing.assert_close(model['backbone'].stem[0].conv.weight.data,
                               state['stem.0.conv.weight'])


def test_out_indices_choose_the_maps():
    net = Xception(base_channels=BASE).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        maps = net(image)
        net.out_indices = Xception(base_channels=BASE, out_indices=(3, 0)).out_indices
        last, first = net(image)
    assert last.equal(maps[3]) and first.equal(maps[0])


def test_the_head_of_deeplab_v3_plus_trains_every_parameter():
    torch.manual_seed(0)
    net = Xception(base_channels=BASE)
    net.init_weights()
    head = DepthwiseSeparableASPPHead(
        in_channels=NARROW[3], in_index=3, channels=8, dilations=(1, 2, 3, 4), num_classes=3,
        c1_in_channels=NARROW[0], c1_channels=4, norm_cfg=dict(type='BN'))
    truth = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 64, 64))))] * 2
    head.loss(net(torch.randn(2, 3, 64, 64)), truth, {})['loss_ce'].backward()
    assert {name for name, p in net.named_parameters() if not p.grad.abs().sum() > 0} == set()


def test_batch_norm_is_frozen_where_asked_to():
    net = Xception(base_channels=BASE, **FROZEN)
    net.load_state_dict(without_classifier(timm_state_dict(71)))
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1.)
    sum(m.square().mean() for m in net(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    changed = {name for name, value in net.state_dict().items() if not value.equal(before[name])}
    convs = {f'{name}.weight' for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}
    assert changed == convs


def test_batch_norm_trains_unless_asked_otherwise():
    net = Xception(base_channels=BASE)
    assert net.train() is net
    net(torch.randn(2, 3, 64, 64))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.num_batches_tracked == 1 and m.weight.requires_grad for m in norms)


@pytest.mark.parametrize('norm_cfg, eps', [(dict(type='BN'), 1e-3), (dict(type='SyncBN'), 1e-3),
                                           (dict(type='BN', eps=1e-5), 1e-5)])
def test_norm_layers_have_the_epsilon_of_the_weights(norm_cfg, eps):
    net = Xception(base_channels=BASE, norm_cfg=norm_cfg)
    assert {m.eps for m in net.modules() if hasattr(m, 'eps')} == {eps}


def test_default_initialization_is_deeplabs():
    net = Xception(base_channels=BASE)
    net.init_weights()
    weight = torch.cat([m.weight.flatten() for m in net.modules() if isinstance(m, nn.Conv2d)])
    assert weight.abs().max() <= .18
    assert weight.std().item() == pytest.approx(.09 * .8796, rel=.02)  # of the cut distribution
    assert net.blocks[3].stack.conv1.bn_dw.weight.eq(1).all()


@pytest.mark.parametrize('kwargs, message', [
    (dict(depth=41), r'depth must be one of \[65, 71\], got 41'),
    (dict(output_stride=4), 'output_stride must be 8, 16 or 32, got 4'),
    (dict(out_indices=(4, )), r'from 0 to 3, got \(4,\)'),
    (dict(out_indices=()), r'from 0 to 3, got \(\)'),
])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Xception(**kwargs)


def test_a_missing_file_of_weights_is_named_with_the_command_that_makes_it(tmp_path):
    checkpoint = str(tmp_path / 'gone.pth')
    net = Xception(base_channels=BASE, init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    with pytest.raises(FileNotFoundError, match=r"gone\.pth .*create_model\('xception71"):
        net.init_weights()
