import pytest
import torch
import torch.nn.functional as F

from mmseg_ext.ops import semantic_edge_features
from mmseg_ext.ops.semantic_edge_features import look_up

IGNORED = 255


def network(classes, widths=(16, 32, 2), dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    layers = []
    for before, after in zip((classes, *widths), widths):
        weight = torch.randn(after, before, 3, 3, generator=generator, dtype=torch.float64) / 5
        bias = torch.randn(after, generator=generator, dtype=torch.float64) / 5
        layers.append((weight.to(dtype), bias.to(dtype)))
    return layers


def random_labels(shape, classes, dtype=torch.int64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, shape, generator=generator)
    labels[torch.rand(shape, generator=generator) < 0.2] = IGNORED
    return labels.to(dtype)


def one_hot(labels, classes, dtype=torch.float64):
    """(N, C, H, W), 0 for all classes where a pixel is ignored."""
    return torch.stack([labels == c for c in range(classes)], dim=1).to(dtype)


@pytest.mark.parametrize('label_type', [torch.uint8, torch.int32, torch.int64], ids=str)
# a pixel, a row, a column, no multiple of anything, as many classes as VOC
@pytest.mark.parametrize('shape, classes', [((1, 1, 1), 2), ((2, 1, 6), 3), ((2, 7, 1), 3),
                                            ((2, 9, 13), 5), ((1, 20, 31), 21)], ids=str)
def test_a_look_up_is_the_convolution_of_the_one_hot_map(shape, classes, label_type):
    (weight, bias), *_ = network(classes, dtype=torch.float32)
    labels = random_labels(shape, classes, label_type)
    expected = F.conv2d(one_hot(labels, classes, torch.float32), weight, bias, padding=1)
    torch.testing.assert_close(look_up(labels, weight, bias, IGNORED), expected, rtol=0, atol=1e-6)


def test_a_look_up_by_hand():
    """Class 0 counts its neighbours to the left, and class 1 those below by ten."""
    weight = torch.zeros(1, 2, 3, 3)
    weight[0, 0, 1, 0], weight[0, 1, 2, 1] = 1, 10
    labels = torch.tensor([[[0, 0, 1], [1, IGNORED, 0], [0, 1, 1]]])
    expected = [[10, 1, 1], [0, 10, 10], [0, 1, 0]]
    assert look_up(labels, weight, torch.tensor([0.5]), IGNORED)[0, 0].sub(0.5).tolist() == expected


def test_labels_mean_the_same_as_their_one_hot_map():
    labels, layers = random_labels((2, 9, 13), 5), network(5)
    for activated in (True, False):
        for ours, expected in zip(
                semantic_edge_features(labels, layers, activated=activated),
                semantic_edge_features(one_hot(labels, 5), layers, activated=activated)):
            torch.testing.assert_close(ours, expected)


def test_activations_are_relu_and_at_last_softmax():
    labels, layers = random_labels((2, 9, 13), 5), network(5)
    after = semantic_edge_features(labels, layers)
    before = semantic_edge_features(labels, layers, activated=False)
    assert [features.shape[1] for features in after] == [16, 32, 2]
    for i in range(2):
        assert before[i].lt(0).any() and torch.equal(after[i], before[i].relu())
    torch.testing.assert_close(after[2], before[2].softmax(dim=1))


def test_an_ignored_label_is_like_the_outside_of_the_image():
    layers = network(3)
    labels = random_labels((1, 5, 6), 3)
    padded = F.pad(labels, (1, 2, 3, 1), value=IGNORED)
    inside, = (features[..., 3:-1, 1:-2]
               for features in semantic_edge_features(padded, layers[:1], activated=False))
    torch.testing.assert_close(
        inside, semantic_edge_features(labels, layers[:1], activated=False)[0])


def test_another_ignored_label():
    labels, layers = random_labels((2, 5, 6), 3), network(3)
    for ours, expected in zip(
            semantic_edge_features(labels.where(labels != IGNORED, -1), layers, ignore_index=-1),
            semantic_edge_features(labels, layers)):
        assert torch.equal(ours, expected)


def test_the_gradient_goes_through_probabilities():
    maps = torch.rand(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: semantic_edge_features(maps, network(3)), maps)


@pytest.mark.parametrize('shape', [(0, 4, 5), (2, 0, 5), (2, 4, 0)], ids=str)
def test_empty_labels(shape):
    (weight, bias), *_ = network(3)
    assert look_up(torch.zeros(shape).long(), weight, bias, IGNORED).shape == (
        shape[0], 16, *shape[1:])


@pytest.mark.parametrize('value', [3, 200, -1])
def test_a_label_that_is_no_class_is_named(value):
    labels = random_labels((2, 5, 6), 3)
    labels[1, 2, 3] = value
    with pytest.raises(ValueError, match=f'labels hold {value}.*3 classes, 0 to 2.*255'):
        semantic_edge_features(labels, network(3))


def test_wrong_arguments_are_refused():
    layers = network(3)
    with pytest.raises(ValueError, match=r'\(N, 3, H, W\).*got \(1, 4, 5, 6\)'):
        semantic_edge_features(torch.zeros(1, 4, 5, 6), layers)
    with pytest.raises(ValueError, match=r'integer tensor \(N, H, W\), got torch.float32'):
        semantic_edge_features(torch.zeros(1, 5, 6), layers)
    with pytest.raises(ValueError, match=r'as many input channels as .*\(16, 3, 3, 3\)'):
        semantic_edge_features(torch.zeros(1, 3, 5, 6), [layers[0], layers[2]])
    with pytest.raises(ValueError, match=r'weights \(D, C, 3, 3\) and biases \(D,\)'):
        semantic_edge_features(torch.zeros(1, 3, 5, 6), [])


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int64], ids=str)
def test_the_index_of_the_look_up_has_32_bits(dtype, monkeypatch):
    types, embedding_bag = [], F.embedding_bag

    def watched(rows, *args, **kwargs):
        types.append(rows.dtype)
        return embedding_bag(rows, *args, **kwargs)

    monkeypatch.setattr(F, 'embedding_bag', watched)
    labels, layers = random_labels((2, 5, 6), 3), network(3)
    found = semantic_edge_features(labels.to(dtype), layers)
    assert types == [torch.int32]
    assert all(torch.equal(*pair) for pair in zip(found, semantic_edge_features(labels, layers)))
