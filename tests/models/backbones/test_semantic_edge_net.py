import copy
import warnings

import pytest
import torch
import torch.nn as nn

from mmseg_ext.models import SemanticEdgeDetector, SemanticEdgeNet


def random_net(num_classes=3, channels=(16, 32), seed=0, **kwargs):
    """With biases, which are 0 at first."""
    torch.manual_seed(seed)
    net = SemanticEdgeNet(num_classes, channels, **kwargs)
    for conv in net.convs:
        nn.init.normal_(conv.bias)
    return net


def pretrained(filename, **kwargs):
    return dict(type='Pretrained', checkpoint=str(filename), **kwargs)


def same_weights(net, other):
    return all(torch.equal(value, other.tensors()[name]) for name, value in net.tensors().items())


def some_labels(num_classes=3):
    labels = torch.randint(0, num_classes, (2, 7, 6), generator=torch.Generator().manual_seed(0))
    labels[0, :2] = 255
    return labels


def one_hot(labels, num_classes=3):
    return torch.stack([labels == c for c in range(num_classes)], dim=1)


@pytest.mark.parametrize('num_classes, channels', [(3, (16, 32)), (2, (4, )), (5, ())])
def test_it_is_the_papers_chain_of_layers(num_classes, channels):
    net = random_net(num_classes, channels).double()
    sizes = [num_classes, *channels, 2]
    chain = nn.Sequential()
    for before, after in zip(sizes, sizes[1:]):
        chain.extend([nn.Conv2d(before, after, 3, padding=1), nn.ReLU()])
    chain[-1] = nn.Softmax(dim=1)
    chain.double()
    for number, (weight, bias) in enumerate(net.layers):
        chain[2 * number].weight.data, chain[2 * number].bias.data = weight.data, bias.data
    maps = torch.rand(2, num_classes, 7, 6, dtype=torch.double)
    features, before = net(maps), net(maps, activated=False)
    assert len(features) == len(before) == len(channels) + 1
    for number, (after, raw) in enumerate(zip(features, before)):
        torch.testing.assert_close(raw, chain[:2 * number + 1](maps))
        torch.testing.assert_close(after, chain[:2 * number + 2](maps))


def test_it_has_the_size_that_the_paper_gives():
    assert sum(p.numel() for p in SemanticEdgeNet(21).parameters()) == 8258
    assert [len(bias) for _, bias in SemanticEdgeNet(21).layers] == [16, 32, 2]


def test_labels_are_their_one_hot_map_and_ignored_ones_no_class():
    net, labels = random_net(), some_labels()
    for ours, expected in zip(net(labels), net(one_hot(labels).float())):
        torch.testing.assert_close(ours, expected)
    labels[labels == 255] = 0
    known = net(labels, ignore_index=0)
    for ours, expected in zip(known, net(one_hot(labels).float() * (labels != 0)[:, None])):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize('as_stored', ['hook', 'detector', 'bare', 'by a prefix'])
def test_weights_come_from_what_a_hook_a_detector_or_another_model_stored(as_stored, tmp_path):
    net, filename = random_net(seed=1), tmp_path / 'net.pth'
    prefix = {}
    if as_stored == 'hook':
        net.save(filename)
    elif as_stored == 'detector':
        detector = SemanticEdgeDetector(dict(num_classes=3))
        detector.edge_net = net
        torch.save(dict(meta={}, state_dict=detector.state_dict()), filename)
    elif as_stored == 'bare':
        torch.save(net.state_dict(), filename)
    else:
        torch.save({f'a.b.{name}': value for name, value in net.state_dict().items()}, filename)
        prefix = dict(prefix='a.b.')
    other = random_net(seed=2, init_cfg=pretrained(filename, **prefix))
    assert not same_weights(other, net)  # nothing is read before it is asked for
    other.init_weights()
    assert same_weights(other, net)
    frozen = random_net(seed=2, init_cfg=pretrained(filename, **prefix)).freeze()
    frozen.init_weights()
    assert same_weights(frozen, net)


def test_other_ways_to_initialize_are_mmengines():
    net = random_net(init_cfg=dict(type='Constant', layer='Conv2d', val=2.))
    net.init_weights()
    assert all(weight.eq(2).all() for weight, _ in net.layers)


def test_a_frozen_net_is_stored_as_one_that_is_not(tmp_path):
    net = random_net(seed=1)
    net.freeze().save(tmp_path / 'net.pth')
    other = random_net(seed=2)
    other.load(str(tmp_path / 'net.pth'))
    assert same_weights(other, net)


# ---------------------------------------------------------------------------------- class-agnostic


def inside(net, dtype=torch.float32):
    """Features of all layers in the middle of a map of one class, for each class."""
    maps = torch.eye(net.num_classes, dtype=dtype)[:, :, None, None].expand(-1, -1, 9, 9)
    return [layer[:, :, 4, 4].detach() for layer in net(maps)]


def knows_no_class(net):
    return all((layer - layer[:1]).abs().max() < 1e-5 for layer in inside(net))


def test_a_class_agnostic_network_has_the_same_features_inside_every_class():
    assert not knows_no_class(random_net(5))
    net = random_net(5, class_agnostic=True)
    assert knows_no_class(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    labels = some_labels(5)
    for _ in range(3):
        optimizer.zero_grad()
        sum(layer.pow(2).sum() for layer in net(labels)).backward()
        optimizer.step()
    before = net.convs[0].weight.detach().clone()
    assert (before.sum(dim=(2, 3)).std(dim=1) > 0.01).any()  # Adam has moved the sums apart
    assert knows_no_class(net)


def test_the_projection_is_the_nearest_and_a_second_one_changes_no_bit():
    net = random_net(7, class_agnostic=True)
    torch.manual_seed(3)
    with torch.no_grad():
        net.convs[0].weight.mul_(10 ** torch.randn(16, 7, 3, 3)).add_(torch.randn(16, 7, 1, 1))
    before = net.convs[0].weight.detach().clone()
    net.project()
    after = net.convs[0].weight.detach().clone()
    sums = before.double().sum(dim=(2, 3))
    expected = before.double() - ((sums - sums.mean(dim=1, keepdim=True)) / 9)[..., None, None]
    torch.testing.assert_close(after, expected.float(), rtol=1e-6, atol=1e-6)
    net.project()
    assert torch.equal(net.convs[0].weight, after)


def test_the_usual_network_is_not_projected():
    net = random_net()
    assert not knows_no_class(net)
    before = {name: value.clone() for name, value in net.tensors().items()}
    net.project()
    net(some_labels())
    assert all(torch.equal(value, before[name]) for name, value in net.tensors().items())
    assert list(net.state_dict()) == list(before)


@pytest.mark.parametrize('how', ['state_dict', 'save', 'freeze'])
def test_what_leaves_a_class_agnostic_network_is_projected(how, tmp_path):
    net = random_net(class_agnostic=True)
    with torch.no_grad():
        net.convs[0].weight[:, 0] += 1  # as an optimizer's last step
    if how == 'freeze':
        assert knows_no_class(net.freeze())
        return
    other = random_net(seed=2, class_agnostic=True).freeze()
    if how == 'state_dict':
        torch.save(net.state_dict(), tmp_path / 'net.pth')
    else:
        net.save(tmp_path / 'net.pth')
    other.load(str(tmp_path / 'net.pth'))
    assert same_weights(other, net) and knows_no_class(other)


@pytest.mark.parametrize('stored', [True, False])
def test_a_file_tells_which_kind_of_network_it_holds(stored, tmp_path):
    random_net(class_agnostic=stored).save(tmp_path / 'net.pth')
    random_net(seed=1, class_agnostic=stored).load(str(tmp_path / 'net.pth'))
    with pytest.raises(ValueError, match=(
            f'with class_agnostic={stored}, but class_agnostic={not stored} is asked for')):
        random_net(class_agnostic=not stored).load(str(tmp_path / 'net.pth'))


# ------------------------------------------------------------------------------------ its classes


def test_a_file_has_the_names_of_the_classes(tmp_path):
    net, other = random_net(), random_net(seed=1)
    net.expect_classes(['cat', 'dog', 'horse'])
    net.save(tmp_path / 'net.pth')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        other.load(str(tmp_path / 'net.pth'))
    assert other.classes == ('cat', 'dog', 'horse')
    other.expect_classes(('cat', 'dog', 'horse'))


@pytest.mark.parametrize('names, difference', [
    (('cat', 'horse', 'dog'), "class 1 is 'dog' there and 'horse' in the data set"),
    (('cat', 'dog', 'cow'), "class 2 is 'horse' there and 'cow' in the data set"),
    (('cat', 'dog'), 'there are 3 of them, the data set has 2')])
@pytest.mark.parametrize('first', ['file', 'data set'])
def test_other_classes_or_another_order_is_refused(first, names, difference, tmp_path):
    net, other = random_net(), random_net(seed=1)
    net.expect_classes(('cat', 'dog', 'horse'))
    net.save(tmp_path / 'net.pth')
    steps = [lambda: other.load(str(tmp_path / 'net.pth')), lambda: other.expect_classes(names)]
    first, second = steps if first == 'file' else steps[::-1]
    first()
    with pytest.raises(ValueError, match=f"net.pth' was made for other classes.*{difference}"):
        second()


def test_a_file_without_names_is_read_with_a_warning(tmp_path):
    net, other = random_net(), random_net(seed=1)
    net.save(tmp_path / 'net.pth')
    other.expect_classes(('cat', 'dog', 'horse'))
    with pytest.warns(UserWarning, match="net.pth' does not tell the classes .* same order"):
        other.load(str(tmp_path / 'net.pth'))
    assert same_weights(net, other) and other.classes == ('cat', 'dog', 'horse')


# ------------------------------------------------------------------------------- what is refused


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=(
            r"no semantic edge network '.*gone\.pth'\. Train it by: python tools/train\.py "
            r'configs/semeda/edges_1xb8-2k_DATASET\.py; or leave init_cfg out')):
        random_net().load(str(tmp_path / 'gone.pth'))


@pytest.mark.parametrize('stored, message', [
    (dict(num_classes=21), r'made for 21 classes .*\(16, 21, 3, 3\).*; with num_classes=3 .*'
     r'\(16, 3, 3, 3\)'),
    (dict(channels=(8, 32)), r'made for 3 classes .*\(8, 3, 3, 3\).* they must be .*\(16, 3, 3'),
    (dict(channels=(16, )), "no semantic edge network of 3 layers: there is no "
     "'edge_net.convs.2.weight'")])
def test_a_network_of_another_size_is_refused(stored, message, tmp_path):
    random_net(**stored).save(tmp_path / 'net.pth')
    net = random_net(seed=1)
    with pytest.raises(ValueError, match=message):
        net.load(str(tmp_path / 'net.pth'))
    assert same_weights(net, random_net(seed=1))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match="other.pth' holds no semantic edge network of 3 layers"):
        random_net().load(str(tmp_path / 'other.pth'))


def test_a_frozen_net_computes_the_same_and_has_nothing_to_train_or_to_store():
    net, labels = random_net(), some_labels()
    expected = [feature.detach() for feature in net(labels)]
    assert net.freeze() is net and not net.training
    assert not list(net.parameters()) and not net.state_dict()
    features = net(labels)
    assert not any(feature.requires_grad for feature in features)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(features, expected))


def test_a_frozen_net_moves_and_is_copied_with_its_weights():
    net = random_net().freeze()
    copied = copy.deepcopy(net).double()
    assert all(value.dtype == torch.double for value in copied.tensors().values())
    assert same_weights(copied, net.double())
    assert all(value.device.type == 'meta' for value in net.to('meta').tensors().values())


@pytest.mark.parametrize('num_classes, channels', [(0, (16, 32)), (3, (16, 0))])
def test_layers_without_channels_are_refused(num_classes, channels):
    with pytest.raises(ValueError, match='must be positive, got'):
        SemanticEdgeNet(num_classes, channels)
