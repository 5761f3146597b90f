"""The op against the network run on both maps, for every implementation that runs here."""
import warnings

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_ext.ops import extension_loaded, semantic_edge_distance
from mmseg_ext.ops.semantic_edge_distance import layerwise

IGNORED = 255
# 'layerwise' is what runs on a GPU
FAST = ['layerwise'] + (['cpp'] if extension_loaded() else [])
ALL = ['reference', *FAST]
needs_extension = pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')


def network(classes, widths=(16, 32, 2), dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for before, after in zip((classes, *widths), widths):
        weight = torch.randn(after, before, 3, 3, generator=generator, dtype=torch.float64)
        bias = torch.randn(after, generator=generator, dtype=torch.float64)
        layers.append(((weight / (9 * before)**0.5).to(dtype), (bias / 5).to(dtype)))
    return layers


def batch(shape=(2, 3, 9, 13), dtype=torch.float64, seed=0, ignored=0.1):
    """Logits, and labels of blocks, some of which are ignored, with some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    n, c, h, w = shape
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    coarse = torch.randint(0, c, (n, h // 8 + 1, w // 8 + 1), generator=generator)
    coarse[torch.rand(coarse.shape, generator=generator) < ignored] = IGNORED
    labels = coarse.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)[:, :h, :w].contiguous()
    labels[torch.rand(labels.shape, generator=generator) < ignored / 10] = IGNORED
    return logits.to(dtype), labels


def distance(logits, labels, layers, factors=(2, 4, 0), implementation='reference', **options):
    """The op, or the function that stands for it on a GPU."""
    if implementation != 'layerwise':
        return semantic_edge_distance(
            logits, labels, layers, factors, implementation=implementation, **options)
    weights, biases = zip(*layers)
    reduced = options.pop('reduction', 'sum') == 'sum'
    pixel_weight, activated = options.pop('pixel_weight', None), options.pop('activated', True)
    ignore_index = options.pop('ignore_index', IGNORED)
    assert not options
    value, gradient = layerwise(logits.detach(), labels, pixel_weight, weights, biases, factors,
                                activated, ignore_index, reduced, reduced and logits.requires_grad)
    if not reduced:
        return value if pixel_weight is None else value * pixel_weight
    return _WithGradient.apply(logits, value, gradient) if logits.requires_grad else value


class _WithGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx, logits, value, gradient):
        ctx.gradient = gradient
        return value.clone()

    @staticmethod
    def backward(ctx, received):
        return ctx.gradient * received.to(ctx.gradient.dtype), None, None


def value_and_gradient(logits, *args, **options):
    logits = logits.detach().requires_grad_()
    value = distance(logits, *args, **options)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def check(logits, labels, layers, factors, implementation, tolerance=1e-10, **options):
    """Value, gradient and map against the reference in double precision."""
    exact = [(weight.double(), bias.double()) for weight, bias in layers]
    value, gradient = value_and_gradient(
        logits, labels, layers, factors, implementation=implementation, **options)
    expected, expected_gradient = value_and_gradient(
        logits.double(), labels, exact, factors, **options)
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=0, atol=tolerance * 100)
    map = distance(logits, labels, layers, factors, implementation=implementation,
                   reduction='none', **options)
    torch.testing.assert_close(map.double().sum(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('implementation', ALL)
def test_by_hand(implementation):
    """One feature, twice the probability of class 0 plus that of the pixel to the left."""
    weight = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    weight[0, 0, 1, 1], weight[0, 0, 1, 0] = 2, 1
    layers = [(weight, torch.zeros(1).double()), *network(1, (2, ))]
    logits = torch.tensor([[[[0, 1]], [[3, 1]]]], dtype=torch.float64)
    logits[0, 1, 0, 0] = torch.tensor(3.0).double().log()  # class 0 has 1/4 and 1/2
    labels = torch.tensor([[[0, 1]]])
    map = distance(logits, labels, layers, (2, 0), implementation, reduction='none')
    # the features are 1/2 and 5/4, those of the labels 2 and 1; the factor is 2
    torch.testing.assert_close(map.tolist(), [[[3.0, 0.5]]])
    value, gradient = value_and_gradient(
        logits, labels, layers, (2, 0), implementation=implementation)
    torch.testing.assert_close(value.item(), 3.5)
    # with respect to the probabilities of class 0: 2 (-2 + 1) and 2 * 2; times p (1 - p)
    torch.testing.assert_close(gradient[0].tolist(), [[[-0.375, 1.0]], [[0.375, -1.0]]])


FACTORS = {
    'of-the-paper': (2, 4, 0),
    'all-layers': (1, 1, 1),
    'first-layer': (3, 0, 0),
    'last-layer': (0, 0, 2),
    'without-the-middle': (1, 0, 0.5),
    'a-negative-one': (1, -2, 1),
    'nothing': (0, 0, 0),
}


@pytest.mark.parametrize('activated', [True, False])
@pytest.mark.parametrize('factors', FACTORS.values(), ids=FACTORS)
@pytest.mark.parametrize('implementation', FAST)
def test_it_is_the_distance_of_the_features(implementation, factors, activated):
    logits, labels = batch((2, 5, 21, 35))
    check(logits, labels, network(5), factors, implementation, activated=activated)


@st.composite
def any_batch(draw):
    shape = (draw(st.integers(1, 2)), draw(st.integers(2, 21)), draw(st.integers(1, 40)),
             draw(st.integers(1, 70)))
    ignored = draw(st.sampled_from([0, 0.1, 0.5, 1]))
    widths = draw(st.sampled_from([(16, 32, 2), (2, ), (3, 9), (40, 2), (8, 5, 7, 3)]))
    factors = draw(st.lists(st.sampled_from([0, 1, 2.5]), min_size=len(widths),
                            max_size=len(widths)))
    seed = draw(st.integers(0, 9))
    logits, labels = batch(shape, seed=seed, ignored=ignored)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(labels.shape, generator=generator, dtype=torch.float64)
    options = dict(pixel_weight=weight if draw(st.booleans()) else None,
                   activated=draw(st.booleans()))
    return logits, labels, network(shape[1], widths, seed=seed), factors, options


@pytest.mark.parametrize('implementation', FAST)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=any_batch())
def test_it_is_so_whatever_the_batch_and_the_network(implementation, case):
    *args, options = case
    check(*args, implementation, **options)


@needs_extension
@pytest.mark.parametrize('factors', [(2, 4, 0), (1, 1, 1)], ids=str)
@pytest.mark.parametrize('shape', [(1, 3, 210, 7), (1, 3, 9, 700), (2, 3, 110, 230)], ids=str)
def test_tiles_leave_no_seams(shape, factors):
    logits, labels = batch(shape)
    check(logits, labels, network(3), factors, 'cpp')


@pytest.mark.parametrize('implementation', ALL)
def test_single_precision(implementation):
    logits, labels = batch((2, 19, 33, 45), torch.float32)
    check(logits, labels, network(19, dtype=torch.float32), (2, 4, 1), implementation, 2e-6)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('implementation', ALL)
def test_low_precision_is_computed_in_single(implementation, dtype):
    logits, labels = batch((2, 5, 12, 17), dtype)
    layers = network(5, dtype=torch.float32)
    value, gradient = value_and_gradient(logits, labels, layers, implementation=implementation)
    expected, exact = value_and_gradient(logits.float(), labels, layers,
                                         implementation=implementation)
    assert value.dtype == torch.float32 and gradient.dtype == dtype
    assert torch.equal(value, expected) and torch.equal(gradient, exact.to(dtype))


@pytest.mark.parametrize('implementation', FAST)
def test_layouts_and_types_of_labels(implementation):
    logits, labels = batch((2, 5, 12, 17))
    layers, options = network(5), dict(implementation=implementation)
    expected = value_and_gradient(logits, labels, layers, **options)
    last = value_and_gradient(
        logits.contiguous(memory_format=torch.channels_last), labels, layers, **options)
    assert last[1].is_contiguous(memory_format=torch.channels_last)
    others = [last] + [
        value_and_gradient(logits.mT.contiguous().mT, labels.mT.contiguous().mT.to(dtype), layers,
                           **options) for dtype in (torch.uint8, torch.int32, torch.int64)
    ] + [
        value_and_gradient(
            logits.repeat_interleave(2, dim=1)[:, ::2],
            labels.repeat_interleave(2, dim=2)[..., ::2], layers, **options)
    ]
    for other in others:
        torch.testing.assert_close(other, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('implementation', ALL)
def test_ignored_pixels_have_no_effect(implementation):
    logits, labels = batch((2, 5, 21, 35), ignored=0.3)
    layers, ignored = network(5), labels == IGNORED
    expected = value_and_gradient(logits, labels, layers, (1, 1, 1), implementation=implementation)
    assert expected[1].movedim(1, -1)[ignored].eq(0).all()
    for value in (100.0, torch.nan, torch.inf):
        changed = logits.masked_fill(ignored[:, None], value)
        results = value_and_gradient(
            changed, labels, layers, (1, 1, 1), implementation=implementation)
        assert all(torch.equal(a, b) for a, b in zip(results, expected))
    other = value_and_gradient(logits, labels.where(~ignored, -3), layers, (1, 1, 1),
                               implementation=implementation, ignore_index=-3)
    assert all(torch.equal(a, b) for a, b in zip(other, expected))


@pytest.mark.parametrize('implementation', ALL)
def test_a_batch_in_which_nothing_counts_is_zero_with_a_graph(implementation):
    logits, labels = batch()
    value, gradient = value_and_gradient(
        logits, torch.full_like(labels, IGNORED), network(3), implementation=implementation)
    assert value == 0 and gradient.eq(0).all()


@pytest.mark.parametrize('shape', [(0, 3, 4, 5), (2, 3, 0, 5), (2, 3, 4, 0)], ids=str)
@pytest.mark.parametrize('implementation', ALL)
def test_an_empty_batch_is_zero_with_a_graph(implementation, shape):
    if implementation != 'cpp' and 0 in shape[1:]:
        pytest.skip('PyTorch convolves no empty images')
    logits, labels = torch.zeros(shape), torch.zeros(shape[0], *shape[2:]).long()
    layers = network(3, dtype=torch.float32)
    value, gradient = value_and_gradient(logits, labels, layers, implementation=implementation)
    assert value == 0 and gradient.shape == shape
    map = distance(logits, labels, layers, implementation=implementation, reduction='none')
    assert map.shape == labels.shape


@pytest.mark.parametrize('implementation', ALL)
def test_the_gradient_is_not_zero(implementation):
    """Of a prediction that says nothing: every pixel could be better."""
    _, labels = batch((2, 5, 21, 35), ignored=0)
    _, gradient = value_and_gradient(
        torch.zeros(2, 5, 21, 35).double(), labels, network(5), implementation=implementation)
    assert gradient.abs().amax(dim=1).gt(1e-3).all()


@pytest.mark.parametrize('activated', [True, False])
@pytest.mark.parametrize('implementation', ALL)
def test_a_perfect_prediction_has_no_distance(implementation, activated):
    _, labels = batch((2, 5, 40, 210))
    logits = 200 * F.one_hot(labels.where(labels != IGNORED, 0), 5).movedim(-1, 1).float()
    value, gradient = value_and_gradient(
        logits, labels, network(5, dtype=torch.float32), (1, 1, 1), activated=activated,
        implementation=implementation)
    # the kernel adds up in one order for both maps, PyTorch does not
    assert value / labels.numel() < (1e-30 if implementation == 'cpp' else 1e-5)
    assert gradient.eq(0).all()


@pytest.mark.parametrize('implementation', ALL)
def test_a_pixel_that_broke_shows_in_the_value(implementation):
    logits, labels = batch(ignored=0)
    for activated in (True, False):
        for channel in (0, 2):
            broken = logits.clone()
            broken[1, channel, 3, 3] = torch.nan
            assert distance(broken, labels, network(3), implementation=implementation,
                            activated=activated).isnan()


@pytest.mark.parametrize('reduction', ['sum', 'none'])
@pytest.mark.parametrize('factors', [(2, 4, 0), (1, 1, 1)], ids=str)
@pytest.mark.parametrize('implementation', ['reference'] + ['cpp'] * extension_loaded())
def test_gradcheck(implementation, factors, reduction):
    logits, labels = batch((1, 3, 4, 5))
    weight = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradcheck(
        lambda logits: semantic_edge_distance(
            logits, labels, network(3, (4, 6, 2)), factors, pixel_weight=weight,
            reduction=reduction, implementation=implementation), logits.requires_grad_())


@needs_extension
def test_of_the_backward_pass_only_the_gradient_is_kept():
    logits, labels = batch()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        semantic_edge_distance(logits.requires_grad_(), labels, network(3), (1, 1, 1))
    assert [tensor.shape for tensor in kept] == [logits.shape]


@needs_extension
def test_networks_get_no_gradient():
    logits, labels = batch()
    layers = [(w.requires_grad_(), b.requires_grad_()) for w, b in network(3)]
    assert not semantic_edge_distance(logits, labels, layers, (1, 1, 1)).requires_grad


@needs_extension
def test_the_result_does_not_depend_on_the_threads():
    logits, labels = batch((2, 7, 150, 211), torch.float32)
    layers, threads, results = network(7, dtype=torch.float32), torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(value_and_gradient(logits, labels, layers, implementation='cpp'))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*results))


@pytest.mark.parametrize('implementation', FAST)
def test_autocast_does_not_lower_the_precision(implementation):
    logits, labels = batch(dtype=torch.float32)
    layers = network(3, dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = distance(logits, labels, layers, implementation=implementation)
    assert torch.equal(value, distance(logits, labels, layers, implementation=implementation))


@needs_extension
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_loss_scale_beyond_float16_scales_the_gradient_of_float16(layout):
    logits, labels = batch((2, 3, 9, 13), torch.float16)
    # so small that 2^16 times the gradient fits into float16
    layers, factors = network(3, dtype=torch.float32), (1e-2, 2e-2, 0)

    def scaled_gradient(implementation, labels):
        leaf = logits.contiguous(memory_format=layout).detach().requires_grad_()
        value = distance(leaf, labels, layers, factors, implementation)
        return torch.autograd.grad(value, leaf, torch.tensor(2.0**16))[0]

    expected = scaled_gradient('reference', labels)
    assert expected.isfinite().all() and expected.abs().max() > 100
    found = scaled_gradient('cpp', labels)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1)
    assert not scaled_gradient('cpp', torch.full_like(labels, IGNORED)).any()


@needs_extension
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize('reduced', [True, False])
def test_opcheck(reduced, dtype):
    logits, labels = batch((2, 3, 6, 7), dtype)
    weights, biases = zip(*network(3, dtype=torch.promote_types(dtype, torch.float32)))
    weight = torch.ones(labels.shape, dtype=weights[0].dtype) if reduced else None
    torch.library.opcheck(torch.ops.mmseg_ext.semantic_edge_distance.default,
                          (logits.requires_grad_(), labels, weight, weights, biases,
                           [1.0, 2.0, 3.0], True, IGNORED, reduced, reduced))


@pytest.mark.parametrize('reduction', ['sum', 'none'])
@pytest.mark.parametrize('implementation', ['reference'] + ['cpp'] * extension_loaded())
def test_compile_takes_it_whole(implementation, reduction):
    logits, labels = batch()
    layers = network(3)

    def step(logits):
        return semantic_edge_distance(logits * 2, labels, layers, (2.0, 4.0, 0.0),
                                      reduction=reduction, implementation=implementation).sum()

    logits.requires_grad_()
    expected = step(logits)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        value = torch.compile(step, backend='aot_eager', fullgraph=True)(logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, logits),
                               torch.autograd.grad(expected, logits))


@needs_extension
@pytest.mark.parametrize('implementation', ALL)
@pytest.mark.parametrize('value', [3, 200, -1])
def test_a_label_that_is_no_class_is_named(implementation, value):
    logits, labels = batch()
    labels[1, 2, 3] = value
    with pytest.raises(ValueError, match=f'labels hold {value}.*3 classes, 0 to 2.*255'):
        distance(logits, labels, network(3), implementation=implementation)


@pytest.mark.parametrize('options, message', [
    (dict(ignore_index=None), 'ignore_index must be a whole number, got None'),
    (dict(reduction='mean'), "'sum' or 'none', got 'mean'"),
    (dict(factors=(1, 2)), r'each of the 3 layers, got \(1, 2\)'),
    (dict(pixel_weight=torch.ones(2, 9)), r'\(2, 9, 13\), got \(2, 9\)'),
    (dict(labels=torch.zeros(2, 13, 9).long()), r'\(2, 3, 9, 13\) and \(2, 13, 9\)'),
    (dict(labels=torch.zeros(2, 9, 13)), 'labels integer tensors.*torch.float32'),
    (dict(layers=network(4)), 'logits have 3 classes, the network was made for 4'),
    (dict(layers=[]), 'layers must be weights'),
    (dict(implementation='numba'), "implementation must be .* got 'numba'"),
])
def test_wrong_arguments_are_refused(options, message):
    logits, labels = batch()
    options = dict(dict(labels=labels, layers=network(3), factors=(2, 4, 0)), **options)
    with pytest.raises(ValueError, match=message):
        semantic_edge_distance(logits, **options)
