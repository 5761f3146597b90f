"""The two axes of an enlargement against ``F.interpolate``, one step and several."""
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_ext.ops.enlargement import bilinear_axis, enlarge

SIDES = st.integers(1, 9)


def two_steps(maps, size, align_corners):
    return F.interpolate(maps, size, mode='bilinear', align_corners=align_corners)


@given(st.tuples(SIDES, SIDES), st.tuples(st.integers(1, 20), st.integers(1, 20)), st.booleans())
@settings(max_examples=80, deadline=None)
def test_an_enlargement_to_any_size_is_that_of_pytorch(small, large, align_corners):
    maps = torch.randn(2, 3, *small, dtype=torch.float64)
    axes = [bilinear_axis(a, b, align_corners) for a, b in zip(small, large)]
    torch.testing.assert_close(enlarge(maps, *axes), two_steps(maps, large, align_corners))
    for axis, side in zip(axes, small):
        assert axis.first.min() >= 0 and axis.first.max() + len(axis.weight) <= side


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES), st.booleans())
@settings(max_examples=80, deadline=None)
def test_two_steps_are_one(small, middle, large, align_corners):
    maps = torch.randn(1, 2, *small, dtype=torch.float64)
    axes = [bilinear_axis(a, b, align_corners).then(bilinear_axis(b, c, align_corners))
            for a, b, c in zip(small, middle, large)]
    expected = two_steps(two_steps(maps, middle, align_corners), large, align_corners)
    torch.testing.assert_close(enlarge(maps, *axes), expected)
    for axis, side in zip(axes, small):
        assert axis.first.min() >= 0 and axis.first.max() + len(axis.weight) <= side


@pytest.mark.parametrize('flip', [False, True])
def test_a_cut_and_a_flip_between_two_steps(flip):
    maps = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    middle = two_steps(maps, (11, 13), False)[:, :, 2:9, 3:13]
    axes = [bilinear_axis(5, 11, False).crop(2, 9), bilinear_axis(6, 13, False).crop(3, 13)]
    if flip:
        middle, axes = middle.flip(2, 3), [axis.flip() for axis in axes]
    axes = [axis.then(bilinear_axis(axis.size, large, False)) for axis, large in zip(axes, (20, 8))]
    torch.testing.assert_close(enlarge(maps, *axes), two_steps(middle, (20, 8), False))
