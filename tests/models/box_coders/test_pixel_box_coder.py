import math

import pytest
import torch
from mmseg.registry import TASK_UTILS

from mmseg_ext.models import PixelBoxCoder


def some_boxes(*shape):
    """Boxes around pixels, (..., 4, H, W), with sides of 1 to 300 pixels."""
    generator = torch.Generator().manual_seed(0)
    first = 200 * torch.rand(*shape[:-2], 2, *shape[-2:], generator=generator).double() - 100
    sides = 1 + 299 * torch.rand(first.shape, generator=generator).double()
    return torch.cat([first, first + sides], dim=-3)


@pytest.mark.parametrize('size, sides', [('log', (math.log(4 / 32), math.log(2 / 32))),
                                         ('linear', (4 / 32, 2 / 32))])
def test_an_offset_starts_at_the_centre_of_the_pixel_and_a_box_ends_behind_its_last(size, sides):
    # the pixel in column 3 of row 1, an instance over the columns 2 to 5 of the rows 0 and 1
    box = torch.tensor([2., 0., 6., 2.]) - torch.tensor([3.5, 1.5, 3.5, 1.5])
    found = PixelBoxCoder(size=size).encode(box.view(4, 1, 1)).flatten()
    torch.testing.assert_close(found, torch.tensor([0.5 / 32, -0.5 / 32, *sides]))


@pytest.mark.parametrize('shape', [(1, 1), (2, 3, 5), (2, 3, 4, 6)])
@pytest.mark.parametrize('arguments', [{}, dict(unit=7), dict(size='linear'),
                                       dict(unit=0.5, size='linear')], ids=str)
def test_what_was_encoded_is_decoded(arguments, shape):
    coder = TASK_UTILS.build(dict(type='PixelBoxCoder', **arguments))
    boxes = some_boxes(*shape)
    transforms = coder.encode(boxes)
    assert transforms.shape == boxes.shape
    torch.testing.assert_close(coder.decode(transforms), boxes)
    torch.testing.assert_close(coder.encode(coder.decode(transforms)), transforms)


@pytest.mark.parametrize('size', ['log', 'linear'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_a_wild_prediction_is_a_box_of_finite_sides(size, dtype):
    transforms = torch.tensor([0., 0., 6e4, -6e4], dtype=dtype).view(4, 1, 1)
    x1, y1, x2, y2 = PixelBoxCoder(size=size).decode(transforms).flatten().tolist()
    assert x2 - x1 == pytest.approx(2**20, rel=1e-3) and y2 - y1 == 0


def test_half_precision_is_decoded_in_single():
    transforms = torch.tensor([0.1, 3., 2.5, 1.]).view(4, 1, 1)
    coder = PixelBoxCoder()
    half = coder.decode(transforms.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, coder.decode(transforms.half().float()))


@pytest.mark.parametrize('wrong, message', [
    (dict(unit=0), 'unit must be a positive number of pixels, got 0'),
    (dict(unit=math.inf), 'unit must be .* got inf'),
    (dict(size='sqrt'), "size must be 'log' or 'linear', got 'sqrt'"),
])
def test_a_wrong_argument_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PixelBoxCoder(**wrong)
