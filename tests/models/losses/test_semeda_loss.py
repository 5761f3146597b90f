"""Value and gradient by Eq. 4 and 5, everywhere or in a band around edges; what is refused."""
import pytest
import torch
import torch.nn.functional as F
from semeda_loss_cases import batch, random_loss

from mmseg_ext.models import SEMEDALoss

# ------------------------------------------------------------------------------ value and gradient


def by_loop(loss, pred, label):
    """Distance of each pixel by Eq. 4 and 5: one-hot truth, both maps through the same layers."""
    distance = torch.zeros(label.shape, dtype=torch.float64)
    for n, (logits, labels) in enumerate(zip(pred, label)):
        known = labels != 255
        maps = [logits.softmax(dim=0) * known,
                torch.stack([labels == c for c in range(len(logits))]).double()]
        for number, (weight, bias) in enumerate(loss.edge_net.layers):
            before = [F.conv2d(map[None], weight.double(), bias.double(), padding=1)[0]
                      for map in maps]
            is_last = number == len(loss.edge_net.layers) - 1
            maps = [map.softmax(dim=0) if is_last else map.clamp(min=0) for map in before]
            ours, theirs = maps if loss.activated else before
            for y, x in known.nonzero().tolist():
                apart = (ours[:, y, x] - theirs[:, y, x]).abs()
                distance[n, y, x] += loss.layer_weights[number] * (
                    apart.mean() if loss.norm == 'mean' else apart.sum())
    return distance


@pytest.mark.parametrize('layer_weights', [(2, 4, 0), (4, 2, 0), (0.5, 0.5, 0.5), (0, 0, 1)],
                         ids=str)
@pytest.mark.parametrize('activated', [True, False], ids=['after-relu', 'before-relu'])
@pytest.mark.parametrize('norm', ['mean', 'sum'])
def test_it_is_the_distance_of_the_embeddings(norm, activated, layer_weights):
    pred, label = batch()
    loss = random_loss(layer_weights=layer_weights, norm=norm, activated=activated, loss_weight=3.)
    each = 3 * by_loop(loss, pred, label)
    number = (label != 255).sum() if norm == 'mean' else len(pred)
    torch.testing.assert_close(loss(pred, label), each.sum() / number)
    torch.testing.assert_close(loss(pred, label, reduction_override='none'), each)
    torch.testing.assert_close(loss(pred, label, reduction_override='sum'), each.sum())
    torch.testing.assert_close(loss(pred, label, avg_factor=10), each.sum() / 10)


@pytest.mark.parametrize('norm', ['mean', 'sum'])
def test_pixel_weights_are_factors_that_do_not_change_the_number_of_pixels(norm):
    pred, label = batch()
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss = random_loss(norm=norm)
    each = by_loop(loss, pred, label) * weight
    number = (label != 255).sum() if norm == 'mean' else len(pred)
    torch.testing.assert_close(loss(pred, label, weight=weight), each.sum() / number)
    torch.testing.assert_close(
        loss(pred, label, weight=weight, reduction_override='none'), each)


@pytest.mark.parametrize('options', [
    dict(), dict(layer_weights=(0.5, 0.5, 0.5)), dict(norm='sum'), dict(activated=False)], ids=str)
def test_the_gradient_is_right(options):
    pred, label = batch()
    loss = random_loss(**options).double()
    pred.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, label), pred)
    assert torch.autograd.gradcheck(lambda x: loss(x, label, reduction_override='none'), pred)


@pytest.mark.parametrize('layer_weights', [(1, 0, 0), (0, 1, 0), (0, 0, 1)], ids=str)
def test_each_layer_gives_a_gradient_at_every_labelled_pixel(layer_weights):
    pred, label = batch()
    random_loss(layer_weights=layer_weights)(pred.requires_grad_(), label).backward()
    assert (pred.grad.abs().amax(dim=1)[label != 255] > 1e-6).all()


@pytest.mark.parametrize('activated', [True, False])
def test_a_perfect_prediction_has_no_loss(activated):
    pred, label = batch()
    right = torch.stack([label == c for c in range(3)], dim=1)
    logits = (100. * right.double() - 50).requires_grad_()
    loss = random_loss(layer_weights=(1, 1, 1), activated=activated)
    value = loss(logits, label)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    # the features of labels and of probabilities may differ in the last digit, with any sign
    assert logits.grad.abs().max() < 1e-12
    assert loss(pred, label) > 0.1


@pytest.mark.parametrize('value', [1e4, float('inf'), float('nan')], ids=str)
def test_ignored_pixels_have_no_effect_on_value_or_gradient(value):
    pred, label = batch()
    other = pred.clone()
    other[0, :, :2] = value
    other[1, :, 3, 3] = value
    loss, results = random_loss(layer_weights=(1, 1, 1)), []
    for logits in (pred, other):
        result = loss(logits.requires_grad_(), label)
        results.append((result.detach(), *torch.autograd.grad(result, logits)))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    assert results[0][1].permute(0, 2, 3, 1)[label == 255].eq(0).all()


def test_another_label_can_be_ignored():
    pred, label = batch()
    loss = random_loss()
    torch.testing.assert_close(
        loss(pred, label.masked_fill(label == 255, -1), ignore_index=-1), loss(pred, label))


def test_half_precision_and_autocast_give_a_float32_loss():
    pred, label = batch()
    loss, half = random_loss(), pred.bfloat16().requires_grad_()
    value = loss(half, label)
    value.backward()
    assert value.dtype == torch.float32 and half.grad.dtype == torch.bfloat16
    with torch.autocast('cpu', dtype=torch.bfloat16):
        under_autocast = loss(half.detach(), label)
    # the convolutions of the network are not rounded
    torch.testing.assert_close(under_autocast, value.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(value.double(), loss(pred, label), rtol=0.01, atol=0)


def test_it_compiles_whole():
    pred, label = batch()
    loss, results = random_loss(), []
    for function in (loss, torch.compile(loss, backend='aot_eager', fullgraph=True)):
        value = function(pred.requires_grad_(), label)
        results.append((value.detach(), *torch.autograd.grad(value, pred)))
    torch.testing.assert_close(results[1], results[0])


# ------------------------------------------------------------------------------------------ a band


def near_by_loop(label, width, ignore_index):
    """Which valid pixels have a pixel with a neighbour of another class within ``width``."""
    edges = []
    pixels = [(n, y, x) for n, y, x in (label != ignore_index).nonzero().tolist()]
    for n, y, x in pixels:
        around = label[n, max(y - 1, 0):y + 2, max(x - 1, 0):x + 2]
        if ((around != label[n, y, x]) & (around != ignore_index)).any():
            edges.append((n, y, x))
    near = torch.zeros_like(label, dtype=torch.bool)
    for n, y, x in pixels:
        near[n, y, x] = any(m == n and max(abs(y - v), abs(x - u)) <= width for m, v, u in edges)
    return near


@pytest.mark.parametrize('width', [0, 1, 3])
def test_a_band_counts_the_pixels_near_edges_and_divides_as_without(width):
    generator = torch.Generator().manual_seed(0)
    label = torch.zeros(2, 9, 14, dtype=torch.long)
    label[0, :3, :4], label[0, 7:, 9:], label[1, :, 12:], label[1, 2:4, 11:] = 1, 7, 2, 7
    pred = torch.randn(2, 3, 9, 14, generator=generator, dtype=torch.float64)
    near = near_by_loop(label, width, ignore_index=7)
    assert 0 < near.sum() < (label != 7).sum()
    weight = torch.rand(label.shape, dtype=torch.float64)
    loss, band = random_loss(), random_loss(band=width)
    each = loss(pred, label, reduction_override='none', ignore_index=7)
    torch.testing.assert_close(
        band(pred, label, reduction_override='none', ignore_index=7), each * near)
    torch.testing.assert_close(
        band(pred, label, ignore_index=7), (each * near).sum() / (label != 7).sum())
    torch.testing.assert_close(
        band(pred, label, weight=weight, ignore_index=7),
        (each * near * weight).sum() / (label != 7).sum())


def test_a_band_gives_the_other_pixels_a_gradient_only_through_their_neighbours():
    label = torch.zeros(1, 5, 20, dtype=torch.long)
    label[..., :3] = 1
    pred = torch.randn(1, 3, 5, 20, dtype=torch.float64, requires_grad=True)
    random_loss(band=1, layer_weights=(1, 1, 0))(pred, label).backward()
    # E* are columns 2 and 3, the band 1 to 4, and two layers see 2 pixels beyond it
    reached = pred.grad.abs().amax(dim=(0, 1, 2)) > 0
    assert reached.nonzero().flatten().tolist() == list(range(7))


def test_a_band_without_an_edge_is_zero_with_a_graph():
    pred = torch.randn(1, 3, 6, 6, requires_grad=True)
    value = random_loss(band=2)(pred, torch.ones(1, 6, 6, dtype=torch.long))
    value.backward()
    assert value == 0 and pred.grad.eq(0).all()


# --------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize('options, message', [
    (dict(band=-1), 'band must be None or a width in pixels, 0 or more, got -1'),
    (dict(band=1.5), 'band must be None or a width in pixels, 0 or more, got 1.5'),
    (dict(norm='max'), "norm must be 'mean' or 'sum', got 'max'"),
    (dict(layer_weights=(2, 4)), r'must have 3 numbers, one for each layer, got \(2, 4\)'),
    (dict(channels=(8, )), r'must have 2 numbers'),
    (dict(num_classes=1), 'each of at least 2 classes, got num_classes=1')])
def test_wrong_options_are_refused_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=message):
        SEMEDALoss(**options)


def test_one_logit_is_refused():
    with pytest.raises(ValueError, match='each of at least 2 classes, got num_classes=1'):
        SEMEDALoss()(torch.randn(1, 1, 4, 4), torch.zeros(1, 4, 4).long())


def test_a_label_that_is_no_class_is_refused():
    pred, label = batch()
    label[1, 2, 3] = 7
    with pytest.raises(ValueError, match='labels hold 7, which is neither one of the 3 classes'):
        random_loss()(pred, label)
