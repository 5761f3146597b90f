"""Colours and texture of cells: which bin each pixel is counted in."""
import sys

import numpy as np
import pytest

from mmseg_ext.ops import extension_loaded
from mmseg_ext.ops.cell_histograms import (
    ORIENTATIONS,
    TEXTURE_BINS,
    reference_histograms,
    texture_filters,
)
from mmseg_ext.ops.hierarchical_regions import _implementation

each_implementation = pytest.mark.parametrize(
    'implementation', ['reference'] + (['cpp'] if extension_loaded() else []))


def histograms(implementation, *arguments):
    """The counts of an implementation, as in group_cells."""
    found = _implementation(implementation)[0](*arguments)
    return {kind: np.asarray(counts) for kind, counts in found.items()}


@each_implementation
@pytest.mark.parametrize('turn', range(4))
def test_a_corner_of_full_contrast_is_in_the_last_bin(implementation, turn):
    """Across its diagonal the derivative is up to twice the steepest step: more than 2^31."""
    image = np.zeros((24, 24, 1), np.uint8)
    image[12:, 12:] = 255
    image = np.rot90(image, turn).copy()
    cells = np.arange(24 * 24, dtype=np.int32).reshape(24, 24)
    smooth, derive, edges = (x.astype(object) for x in texture_filters())  # exact
    padded = np.pad(image[..., 0].astype(object), 4, mode='edge')
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9))
    along_x, along_y = ((windows * weights).sum(axis=(2, 3)) for weights in (
        np.outer(smooth, derive), np.outer(derive, smooth)))
    responses = [sign * x for x in (along_x, along_y, along_x + along_y, along_x - along_y)
                 for sign in (1, -1)]
    assert max(map(np.max, responses)) > 2**31
    expected = np.stack([(x[..., None] >= edges[i // 4]).sum(axis=-1)
                         for i, x in enumerate(responses)], axis=-1).astype(int)
    counts = histograms(implementation, image, cells, cells.size)['texture']
    counts = counts.reshape(24, 24, ORIENTATIONS, TEXTURE_BINS)
    assert np.array_equal(counts.argmax(axis=-1), expected) and (counts.sum(axis=-1) == 1).all()
    assert (expected[..., 4:] == TEXTURE_BINS - 1).any()


@each_implementation
@pytest.mark.parametrize('above', [0, 1])
def test_a_response_equal_to_the_edge_of_a_bin_is_in_the_upper_one(
        implementation, above, monkeypatch):
    """The edge is the response of a step itself, or one more."""
    smooth, derive, edges = texture_filters()
    image = np.zeros((9, 12, 1), np.uint8)
    image[:, 6:] = 200
    steepest = 200 * int(derive[derive > 0].sum()) * int(smooth.sum())
    edges = np.tile(np.array([1, 2, 3, 4, 5, 6, 7, steepest + above, steepest + 9]), (2, 1))
    for name in ('cell_histograms', 'hierarchical_regions'):  # the package has ops of these names
        monkeypatch.setattr(sys.modules[f'mmseg_ext.ops.{name}'], 'texture_filters',
                            lambda: (smooth, derive, edges.astype(np.int32)))
    cells = np.zeros((9, 12), np.int32)
    counts = histograms(implementation, image, cells, 1)['texture']
    counts = counts.reshape(ORIENTATIONS, TEXTURE_BINS)
    # two columns of pixels, one on each side of the step, respond the most
    most = 2 * 9
    for orientation in (0, 4, 6):  # along x and both diagonals
        assert counts[orientation, 8] == (0 if above else most)
        assert counts[orientation, 9] == 0


def test_colours_are_counted_in_25_bins_of_each_channel():
    image = np.array([[[0, 255, 128], [5, 6, 250]]], np.uint8)
    counts = reference_histograms(image, np.zeros((1, 2), np.int32), 1)['colour'].reshape(3, 25)
    assert counts.sum() == 6
    assert [np.flatnonzero(row).tolist() for row in counts] == [[0], [1, 24], [12, 24]]


@pytest.mark.parametrize('turn, orientation', [(0, 0), (1, 3), (2, 1), (3, 2)])
def test_the_texture_of_the_steepest_step(turn, orientation):
    """Rising to the right, up, to the left, down: in the last bin of that orientation, and with a
    response of cos 45 degrees, thus in bin 9 * 0.71, in the two beside."""
    image = np.zeros((15, 15, 1), np.uint8)
    image[:, 8:] = 255
    cells = np.ones((15, 15), np.int32)
    cells[7, 7:9] = 0  # both sides of the step, which lies between pixels
    image, cells = np.rot90(image, turn), np.rot90(cells, turn)
    counts = reference_histograms(image, cells, 2)['texture'][0].reshape(ORIENTATIONS, TEXTURE_BINS)
    bins = [np.flatnonzero(row).tolist() for row in counts]
    assert counts.sum(1).tolist() == [2] * ORIENTATIONS
    assert bins[orientation] == [9]
    assert sorted(bins) == [[0]] * 5 + [[6]] * 2 + [[9]]


def test_texture_is_flat_where_nothing_changes_even_at_the_border():
    image = np.full((6, 5, 3), 77, np.uint8)
    counts = reference_histograms(image, np.zeros((6, 5), np.int32), 1)['texture']
    assert counts.reshape(3 * ORIENTATIONS, TEXTURE_BINS)[:, 0].tolist() == [30] * 3 * ORIENTATIONS
