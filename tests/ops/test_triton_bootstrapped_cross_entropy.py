"""The Triton kernels against the reference: on a GPU, or on a CPU in Triton's interpreter.

The interpreter needs TRITON_INTERPRET=1 in the environment before Triton is imported.
"""
import os
import subprocess
import sys

import pytest
import torch

from mmseg_ext.ops import bootstrapped_cross_entropy, select_hard_pixels

pytest.importorskip('triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICES = ['cpu'] * INTERPRETED + ['cuda'] * torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

# The two differ in the order of sums; a gradient is then rounded to the logits' type.
SUM_TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}
TOLERANCE = {**SUM_TOLERANCE, torch.bfloat16: 1e-2, torch.float16: 2e-3}


@pytest.fixture(params=DEVICES or [None])
def device(request):
    if request.param is None:
        pytest.skip('needs a GPU or TRITON_INTERPRET=1')
    return request.param


def batch(device, shape=(2, 5, 23, 25), dtype=torch.float32, ignored=0.2):
    """By default 575 pixels an image: a block of 512 and a part of one."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return logits.to(device, dtype), labels.to(device)


def run(implementation, logits, labels, **options):
    """Loss, gradient and selection."""
    logits = logits.detach().requires_grad_()
    loss = bootstrapped_cross_entropy(logits, labels, implementation=implementation, **options)
    gradient, = torch.autograd.grad(loss, logits)
    options.pop('class_weight', None)
    return loss.detach(), gradient, select_hard_pixels(
        logits, labels, implementation=implementation, **options)


def check(logits, labels, **options):
    """Compare with the reference; returns loss, gradient and selection."""
    loss, gradient, selected = run('triton', logits, labels, **options)
    expected, expected_gradient, expected_selected = run('reference', logits, labels, **options)
    assert torch.equal(selected.kept, expected_selected.kept)
    assert torch.equal(selected.scale, expected_selected.scale)
    assert loss.dtype == expected.dtype and gradient.dtype == logits.dtype
    torch.testing.assert_close(
        loss, expected, rtol=SUM_TOLERANCE[loss.dtype], atol=0, equal_nan=True)
    tolerance = TOLERANCE[logits.dtype]
    largest = expected_gradient.nan_to_num(0).abs().max().item() if logits.numel() else 0
    torch.testing.assert_close(gradient, expected_gradient, rtol=tolerance,
                               atol=tolerance * largest, equal_nan=True)
    return loss, gradient, selected


OPTIONS = {
    'plain-mean': dict(),
    'threshold': dict(thresh=0.4),
    'a-threshold-nobody-is-under': dict(thresh=1e-9),
    'rank': dict(min_kept=70),
    'rank-beyond-the-pixels': dict(min_kept=10**6),
    'threshold-decides': dict(thresh=0.4, min_kept=3),
    'rank-decides': dict(thresh=1e-3, min_kept=110),
    'both-of-each-image': dict(thresh=1e-2, min_kept=50, per_image=True),
    'mean-of-images': dict(per_image=True),
    'class-weights': dict(thresh=0.5, class_weight=[0.5, 2.0, 7.0, 0.0, 1.0]),
    'weights-of-each-image': dict(
        min_kept=9, per_image=True, class_weight=[0.5, 2.0, 7.0, 3.0, 1.0]),
    'a-class-is-ignored': dict(thresh=0.5, ignore_index=1),
    'a-negative-label-is-ignored': dict(thresh=0.5, ignore_index=-100),
}


@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
def test_it_is_the_reference(device, options, dtype):
    logits, labels = batch(device, dtype=dtype)
    labels[labels == 255] = options.get('ignore_index', 255)
    check(logits, labels, **options)


def test_a_table_by_hand(device):
    # p of class 1, the label: 1/4, 1/2, 3/4, 1/4 (ignored)
    logits = torch.tensor([[3., 1, 1, 3], [1., 1, 3, 1]], device=device).log().view(1, 2, 2, 2)
    labels = torch.tensor([[[1, 1], [1, 255]]], device=device)
    loss, gradient, selected = run('triton', logits, labels, thresh=0.6, class_weight=[5., 2.])
    assert selected.kept.tolist() == [[[True, True], [False, False]]]
    torch.testing.assert_close(loss.item(), 2 * (2 + 1) / 2 * 0.6931471805599453)
    expected = torch.tensor([[0.75, 0.5, 0, 0], [-0.75, -0.5, 0, 0]], device=device)
    torch.testing.assert_close(gradient, expected.view(1, 2, 2, 2))


# One class; one pixel; two blocks exactly; a pixel more than one; many images; no power of two
@pytest.mark.parametrize('shape', [(2, 1, 2, 3), (1, 3, 1, 1), (1, 2, 32, 32), (1, 2, 27, 19),
                                   (9, 4, 1, 2), (1, 37, 5, 6)], ids=str)
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last], ids=str)
def test_any_shape_and_layout(device, memory_format, shape):
    logits, labels = batch(device, shape, ignored=0.1)
    logits = logits.to(memory_format=memory_format)
    _, gradient, _ = check(logits, labels, thresh=0.4, min_kept=1)
    assert gradient.is_contiguous(memory_format=memory_format)


VIEWS = {
    'some-classes': lambda t: t[:, 1:],
    'some-pixels': lambda t: t[..., ::2, 1:],
    'transposed': lambda t: t.transpose(-1, -2),
    'expanded': lambda t: t.expand(3, *t.shape[1:]),
}


@pytest.mark.parametrize('view', VIEWS.values(), ids=VIEWS)
def test_views_are_taken_as_they_are(device, view):
    logits, _ = batch(device, (1, 4, 6, 10))
    logits = view(logits)
    labels = torch.arange(logits[:, 0].numel(), device=device).view_as(logits[:, 0]) % 3
    _, gradient, _ = check(logits, labels, thresh=0.4, min_kept=7)
    # the same labels, laid out otherwise
    scattered = torch.stack([labels, labels], dim=-1)[..., 0]
    assert torch.equal(run('triton', logits, scattered, thresh=0.4, min_kept=7)[1], gradient)


@pytest.mark.parametrize('options', [
    dict(), dict(thresh=0.5, min_kept=3), dict(per_image=True)], ids=str)
def test_where_nothing_counts_the_loss_is_zero_with_a_graph(device, options):
    logits, labels = batch(device, (2, 3, 4, 5), ignored=1)
    loss, gradient, selected = check(logits, labels, **options)
    assert loss == 0 and gradient.eq(0).all() and not selected.kept.any()


@pytest.mark.parametrize('shape', [(0, 3, 4, 4), (2, 3, 0, 4)], ids=str)
def test_an_empty_batch(device, shape):
    loss, gradient, _ = check(*batch(device, shape), thresh=0.5, min_kept=3)
    assert loss == 0 and gradient.shape == shape


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('classes', [2, 3, 7, 19, 150])
def test_a_probability_equal_to_the_threshold_is_not_below_it(device, classes, dtype):
    logits = torch.zeros(1, classes, 2, 2, device=device, dtype=dtype)
    labels = torch.ones(1, 2, 2, device=device, dtype=torch.long)
    for thresh, expected in ((1 / classes, 0), (1 / classes + 1e-3, 4)):
        selected = select_hard_pixels(logits, labels, thresh=thresh, implementation='triton')
        assert selected.kept.sum() == expected


def test_a_threshold_for_double_precision_is_not_rounded_to_single(device):
    logits, labels = batch(device, (1, 2, 1, 1), torch.float64, ignored=0)
    p = logits.softmax(dim=1).flatten()[labels.item()].item()
    for thresh, expected in ((p * (1 - 1e-12), 0), (p * (1 + 1e-12), 1)):
        selected = select_hard_pixels(logits, labels, thresh=thresh, implementation='triton')
        assert selected.kept.sum() == expected


def test_ties_are_kept_in_memory_order_across_blocks(device):
    logits = torch.zeros(2, 3, 30, 20, device=device)
    labels = torch.zeros(2, 30, 20, device=device, dtype=torch.long)
    labels[0, 0, :5] = 255
    _, _, selected = check(logits, labels, min_kept=700)
    assert selected.kept.sum() == 700 and selected.kept.flatten()[5:705].all()


def test_huge_logits_lose_no_precision(device):
    # log(1 + e), of which a log-sum-exp of 1e4 would keep three digits
    logits = torch.tensor([1e4, 1e4 - 1, -1e4], device=device).view(1, 3, 1, 1)
    loss, _, _ = check(logits, torch.ones(1, 1, 1, device=device, dtype=torch.long))
    torch.testing.assert_close(loss.item(), 1.3132616875182228, rtol=1e-6, atol=0)


@pytest.mark.parametrize('values', [(float('nan'), 0., 1.), (0., float('nan'), 1.),
                                    (float('inf'), 0., 1.), (float('-inf'), 0., 1.),
                                    (float('-inf'), float('-inf'), 0.),
                                    (0., float('-inf'), float('-inf')),
                                    (float('-inf'), ) * 3], ids=str)
@pytest.mark.filterwarnings('ignore:.*encountered in:RuntimeWarning')
def test_what_is_not_finite_is_as_in_the_reference(device, values):
    logits = torch.tensor(values, device=device).repeat_interleave(3).view(1, 3, 1, 3)
    labels = torch.tensor([[[0, 1, 2]]], device=device)
    check(logits, labels, thresh=1e-9, min_kept=1)


def test_a_pixel_that_broke_is_kept_unless_it_is_ignored(device):
    logits, labels = batch(device, (1, 3, 4, 5), ignored=0)
    logits[0, 2, 1, 1] = torch.nan
    loss, _, selected = check(logits, labels, thresh=1e-9)
    assert loss.isnan() and selected.kept.sum() == 1 and selected.kept[0, 1, 1]
    labels[0, 1, 1] = 255
    loss, gradient, _ = run('triton', logits, labels, thresh=0.9)
    assert loss.isfinite() and gradient.isfinite().all()


def test_backward_does_not_read_what_is_not_kept(device):
    from mmseg_ext.ops.triton.bootstrapped_cross_entropy import backward
    logits, labels = batch(device, (2, 3, 30, 40), ignored=0)  # three blocks an image
    kept = torch.zeros(2, 40, 30, device=device, dtype=torch.bool).transpose(1, 2)
    kept[0, 0, 3] = kept[1, 29, 39] = True
    logits = torch.where(kept[:, None], logits, torch.nan)
    upstream = torch.tensor([1, torch.nan, 2], device=device)[::2]
    gradient = backward(upstream, logits, labels, None, kept)
    assert (gradient != 0).any(dim=1).equal(kept) and gradient.isfinite().all()


@pytest.mark.parametrize('options', [
    dict(thresh=0.4), dict(min_kept=2, per_image=True, class_weight=[0.5, 2.0, 7.0])], ids=str)
def test_gradcheck(device, options):
    logits, labels = batch(device, (2, 3, 2, 2), torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: bootstrapped_cross_entropy(x, labels, implementation='triton', **options),
        logits.requires_grad_())


# 2^40 as an address would end the process
@pytest.mark.parametrize('value', [5, -1, 2**40])
@pytest.mark.skipif(not INTERPRETED, reason='needs TRITON_INTERPRET=1')
def test_a_label_that_is_no_class_is_named(value):
    logits, labels = batch('cpu')
    labels[1, 2, 3] = value
    messages = []
    for implementation in ('triton', 'reference'):
        with pytest.raises(ValueError, match=f'labels hold {value}.*5 classes') as caught:
            bootstrapped_cross_entropy(logits, labels, implementation=implementation)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def run_python(code, **environment):
    """Run code in a process without the interpreter."""
    environment = {**os.environ, **environment, 'TRITON_INTERPRET': '0'}
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment)


@needs_gpu
def test_a_label_that_is_no_class_is_asserted_on_a_gpu():
    process = run_python("""
import torch
from mmseg_ext.ops import bootstrapped_cross_entropy
labels = torch.full((1, 2, 2), 9, device='cuda')
bootstrapped_cross_entropy(torch.zeros(1, 3, 2, 2, device='cuda'), labels)
torch.cuda.synchronize()
""")
    assert process.returncode != 0 and '3 classes, 0 to 2' in process.stderr + process.stdout


def test_the_kernels_compile_for_a_gpu(tmp_path):
    """The interpreter takes more than the compiler does, such as a name of two types."""
    process = run_python("""
import torch, triton
from triton.backends.compiler import GPUTarget
from mmseg_ext.ops.triton import bootstrapped_cross_entropy as ops

dtypes = dict(fp16='float16', fp32='float32', fp64='float64', bf16='bfloat16')
# type of the logits, of the sums, of the strides; contiguous; with threshold and class weights
for dtype, sums, size, contiguous, optional in (
        ('fp32', 'fp32', 'i32', True, True), ('fp64', 'fp64', 'i64', False, False),
        ('bf16', 'fp32', 'i64', True, False), ('fp16', 'fp32', 'i32', False, True)):
    types = dict(logits=dtype, labels='i64', losses=sums, codes='u8', thresh=sums, factors=sums,
                 class_weight=sums, kept='i1', gradient=dtype)
    types = {name: '*' + type for name, type in types.items()}
    constants = ops._launch(torch.empty(1, 19, 1, dtype=getattr(torch, dtypes[dtype])))[1]
    constants.pop('num_warps')
    constants.update(dict(by_pixel=1, to_pixel=1) if contiguous else dict(by_class=1, to_class=1))
    constants.update({} if optional else dict(thresh=None, class_weight=None))
    for kernel in (ops._forward_kernel, ops._backward_kernel):
        own = {name: value for name, value in constants.items() if name in kernel.arg_names}
        signature = {name: 'constexpr' if name in own else types.get(name, size)
                     for name in kernel.arg_names}
        # addresses and sizes that are multiples of 16, as those of most images
        aligned = [i for i, name in enumerate(kernel.arg_names)
                   if name not in own and (name in types or name[:3] in ('pix', 'by_', 'to_'))]
        source = triton.compiler.ASTSource(kernel, signature, own, {
            (i, ): [['tt.divisibility', 16]] for i in aligned if contiguous})
        compiled = triton.compile(source, target=GPUTarget('cuda', 80, 32))
        # neighbours are read 16 bytes at a time
        assert ('ld.global.v4.b32' in compiled.asm['ptx']) == contiguous
        print(len(compiled.asm['cubin']))
""", TRITON_CACHE_DIR=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.split()) == 8


def test_the_kernels_are_registered_and_wait_for_their_first_call():
    process = run_python("""
import sys
import torch
import mmseg_ext.ops.triton
for name in ('bootstrapped_cross_entropy', 'bootstrapped_cross_entropy_backward'):
    assert torch._C._dispatch_has_kernel_for_dispatch_key('mmseg_ext::' + name, 'CUDA')
assert 'mmseg_ext.ops.triton.bootstrapped_cross_entropy' not in sys.modules
""")
    assert process.returncode == 0, process.stderr


@needs_gpu
def test_the_dispatcher_calls_them_on_a_gpu():
    import mmseg_ext.ops.triton  # noqa: F401
    logits, labels = batch('cuda')
    args = (logits, labels, None, 0.4, 5, True, 255)
    ops = torch.ops.mmseg_ext
    sums, kept, num_kept, num_valid = ops.bootstrapped_cross_entropy(*args)
    assert num_kept.equal(kept.flatten(1).sum(1))
    assert num_valid.equal((labels != 255).flatten(1).sum(1))
    torch.testing.assert_close((sums / num_kept).mean(), bootstrapped_cross_entropy(
        logits, labels, thresh=0.4, min_kept=5, per_image=True, implementation='reference'))
    torch.library.opcheck(ops.bootstrapped_cross_entropy.default,
                          (logits.requires_grad_(), *args[1:]))
    torch.library.opcheck(ops.bootstrapped_cross_entropy_backward.default,
                          (torch.ones(2, device='cuda'), logits.detach(), labels, None, kept))


@needs_gpu
def test_equal_inputs_give_equal_bits():
    logits, labels = batch('cuda', (2, 19, 256, 256))
    options = dict(thresh=0.4, min_kept=5, class_weight=torch.rand(19))
    first = run('triton', logits, labels, **options)
    for _ in range(5):
        again = run('triton', logits, labels, **options)
        assert first[0].equal(again[0]) and first[1].equal(again[1])


@needs_gpu
def test_offsets_of_more_than_31_bits():
    step = 2**23  # the last pixel begins at 2^31
    memory = torch.empty(256 * step + 3, dtype=torch.float16, device='cuda')
    logits = memory.as_strided((1, 3, 1, 257), (memory.numel(), 1, memory.numel(), step))
    values, labels = batch('cuda', (1, 3, 1, 257), torch.float16)
    logits.copy_(values)
    loss, gradient, _ = run('triton', logits, labels, thresh=0.5)
    expected, expected_gradient, _ = run('triton', values, labels, thresh=0.5)
    assert loss.equal(expected) and gradient.equal(expected_gradient)
