"""The op against enlarged logits and their argmax."""
import pytest
import torch
import torch.nn.functional as F
from bootstrapped_cross_entropy_cases import IMPLEMENTATIONS
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_ext.ops import extension_loaded, upsampled_argmax
from mmseg_ext.ops.upsampled_argmax import OP

needs_cpp = pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')


def logits_of(small=(3, 4), classes=5, images=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, classes, *small, generator=generator, dtype=dtype)


def enlarged(logits, size, align_corners=False):
    return F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_labels_are_those_of_enlarged_logits(implementation, align_corners):
    logits = logits_of()
    found = upsampled_argmax(logits, (13, 17), align_corners=align_corners,
                             implementation=implementation)
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), enlarged(logits, (13, 17), align_corners).argmax(1))


@given(st.tuples(st.integers(1, 6), st.integers(1, 6)),
       st.tuples(st.integers(1, 90), st.integers(1, 600)), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
@needs_cpp
def test_any_two_sizes(small, large, classes):
    logits = logits_of(small, classes)
    assert torch.equal(upsampled_argmax(logits, large, implementation='cpp').long(),
                       enlarged(logits, large).argmax(1))


@pytest.mark.parametrize('flip', ['horizontal', 'vertical'])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_way_of_a_padded_and_flipped_image(implementation, flip):
    """Enlarged to the padded input, padding cut off, flipped back, brought to the original size."""
    logits = logits_of((4, 6))
    image = enlarged(logits, (32, 48))[:, :, 1:30, 0:44]
    image = image.flip(3 if flip == 'horizontal' else 2)
    found = upsampled_argmax(logits, (40, 61), through=[(32, 48), (1, 2, 0, 4), flip],
                             implementation=implementation)
    assert torch.equal(found.long(), enlarged(image, (40, 61)).argmax(1))


@pytest.mark.parametrize('classes, dtype', [(256, torch.uint8), (257, torch.int16),
                                            (32769, torch.int32)])
@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_type_holds_the_last_class(implementation, classes, dtype):
    logits = torch.zeros(1, classes, 1, 2)
    logits[:, -1, :, 1] = 1
    found = upsampled_argmax(logits, (1, 2), implementation=implementation)
    assert found.dtype == dtype and found.tolist() == [[[0, classes - 1]]]


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_the_first_of_equal_logits_counts_and_a_nan_is_more_than_any_number(implementation):
    nan, inf = float('nan'), float('inf')
    columns = torch.tensor([[1., 2., 2.], [3., 3., 3.], [1., nan, inf], [nan, 5., nan],
                            [-inf, -inf, -inf]])
    logits = columns.T[None, :, None, :]  # (1, 3 classes, 1, 5)
    found = upsampled_argmax(logits, (1, 5), implementation=implementation)
    assert torch.equal(found.long(), logits.argmax(1))


@needs_cpp
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_low_precision_and_channels_last(dtype):
    logits = logits_of((5, 6), 19, dtype=dtype).contiguous(memory_format=torch.channels_last)
    found = upsampled_argmax(logits, (70, 530), implementation='cpp')
    large = enlarged(logits.float(), (70, 530))
    top = large.gather(1, found.long()[:, None])[:, 0]
    torch.testing.assert_close(top, large.amax(1))  # but for rounding the largest


@needs_cpp
def test_opcheck_and_the_compiler():
    logits = logits_of(dtype=torch.float32)
    taken = torch.compile(lambda x: upsampled_argmax(x, (9, 11)), backend='aot_eager',
                          fullgraph=True)(logits)
    assert torch.equal(taken, upsampled_argmax(logits, (9, 11)))
    geometry = (torch.zeros(4, dtype=torch.int32), torch.ones(1, 4))
    torch.library.opcheck(OP.dispatch, (logits, *geometry, *geometry))


def test_no_image_gives_no_label_map():
    assert upsampled_argmax(torch.zeros(0, 3, 2, 2), (4, 5)).shape == (0, 4, 5)


@pytest.mark.parametrize('arguments, sentence', [
    (dict(size=(4, )), 'size must be a height and a width'),
    (dict(through=['diagonal']), "a flip must be 'horizontal' or 'vertical'"),
    (dict(through=[(1, 2, 0, 0)]), 'leaves nothing of a map of 3 x 4'),
    (dict(through=[(-1, 0, 0, 0)]), 'top must be a whole number from 0'),
    (dict(through=[(8, 0)]), 'a size in through must be a whole number from 1'),
    (dict(logits=torch.zeros(2, 0, 3, 4)), 'with a class and a position'),
])
def test_wrong_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        upsampled_argmax(**dict(dict(logits=logits_of(), size=(8, 8)), **arguments))
