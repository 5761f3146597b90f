import numpy as np
import pytest

from mmseg_ext.visualization import draw_class_shares, draw_hard_pixels
from mmseg_ext.visualization.hard_pixels import GREY, NAME_WIDTH, ROW_HEIGHT, class_counts
from mmseg_ext.visualization.tiles import CAPTION_HEIGHT, GAP

PALETTE = [[200, 0, 0], [0, 200, 0]]
SIDE = 300


def tiles_of(picture):
    """The six tiles of a picture of a square image, row by row."""
    rows = [CAPTION_HEIGHT, 2 * CAPTION_HEIGHT + SIDE + GAP]
    return [picture[y:y + SIDE, x:x + SIDE] for y in rows
            for x in (0, SIDE + GAP, 2 * (SIDE + GAP))]


@pytest.fixture
def tiles():
    """A black image of 10x10: left class 0, right class 1, last row unlabelled; one column kept."""
    truth = np.zeros((10, 10), np.int64)
    truth[:, 5:] = 1
    truth[9] = 255
    kept = np.zeros((10, 10), bool)
    kept[:9, 5] = True
    probability = np.ones((10, 10), np.float32)
    probability[:9, 5] = 0.
    picture = draw_hard_pixels(np.zeros((10, 10, 3), np.uint8), truth, np.ones_like(truth), kept,
                               probability, PALETTE, ('a', 'b'), threshold=0.5, tile_width=SIDE)
    assert picture.shape == (2 * (CAPTION_HEIGHT + SIDE) + GAP, 3 * SIDE + 2 * GAP, 3)
    return tiles_of(picture)


def at(tile, y, x):
    """The colour in the middle of pixel (y, x) of a 10x10 image."""
    return tile[y * 30 + 15, x * 30 + 15].tolist()


def test_the_first_row_is_image_truth_and_prediction(tiles):
    image, truth, prediction = tiles[:3]
    assert at(image, 3, 3) == [0, 0, 0]
    assert at(truth, 3, 3) == PALETTE[0] and at(truth, 3, 7) == PALETTE[1]
    assert at(prediction, 3, 3) == PALETTE[1]


def test_kept_pixels_have_the_colour_of_their_true_class_on_a_pale_image(tiles):
    kept = tiles[3]
    assert at(kept, 3, 5) == PALETTE[1]
    for x in (4, 6):
        red, green, blue = at(kept, 3, x)
        assert red == green == blue > 150


def test_the_lower_the_probability_the_brighter(tiles):
    heat = tiles[4]
    assert sum(at(heat, 3, 5)) > 500
    assert sum(at(heat, 3, 3)) < 50


@pytest.mark.parametrize('tile', [1, 3, 4], ids=['truth', 'kept', 'probability'])
def test_pixels_without_a_label_are_striped(tiles, tile):
    row = tiles[tile][9 * 30 + 15, :300]
    assert sorted(np.unique(row)) == [110, 200]
    assert (row == row[:, :1]).all()  # grey


def test_the_picture_ends_with_the_bars_of_the_image(tiles):
    labelled, kept = np.array([45, 45]), np.array([0, 9])
    bars = draw_class_shares(labelled, kept, PALETTE, ('a', 'b'), (SIDE, SIDE))
    np.testing.assert_array_equal(tiles[5], bars)


def test_class_counts_leave_pixels_without_a_label_out():
    labelled, kept = class_counts(np.array([0, 2, 2, 255]), np.array([True, False, True, False]), 3)
    assert labelled.tolist() == [1, 0, 2] and kept.tolist() == [1, 0, 1]


def test_bars_are_as_long_as_the_shares():
    bars = draw_class_shares(np.array([60, 40]), np.array([1, 4]), PALETTE, size=(430, 100))
    room = 430 - NAME_WIDTH - 130  # for 80 %, the longest bar
    for row, (before, after) in enumerate([(.6, .2), (.4, .8)]):
        for y, share, colour in ((5, before, GREY), (13, after, PALETTE[row])):
            line = bars[row * ROW_HEIGHT + y, NAME_WIDTH:NAME_WIDTH + room + 1]
            length = (line == colour).all(axis=1).sum()
            assert length == pytest.approx(room * share / .8, abs=2)


def test_a_caption_is_written_above_the_bars():
    counts = np.array([60, 40]), np.array([1, 4])
    bars = draw_class_shares(*counts, PALETTE)
    with_caption = draw_class_shares(*counts, PALETTE, caption='shares')
    np.testing.assert_array_equal(with_caption[CAPTION_HEIGHT:], bars)
    assert with_caption[:CAPTION_HEIGHT].min() < 100


def test_where_there_is_no_room_the_classes_with_the_most_kept_pixels_stay():
    counts = np.full(5, 10), np.array([0, 9, 1, 8, 0])
    palette = [[40 * c, 255, 0] for c in range(5)]
    bars = draw_class_shares(*counts, palette, size=(400, 3 * ROW_HEIGHT))
    colours = [bars[row * ROW_HEIGHT + 13, NAME_WIDTH + 40].tolist() for row in range(3)]
    assert colours == [palette[1], palette[3], [255, 255, 255]]  # the last row says how many more


def test_a_single_kept_pixel_of_a_large_image_stays_visible():
    truth = np.zeros((800, 800), np.int64)
    kept = np.zeros((800, 800), bool)
    kept[400, 400] = True
    picture = draw_hard_pixels(np.full((800, 800, 3), 255, np.uint8), truth, truth, kept,
                               np.ones((800, 800), np.float32), PALETTE, tile_width=SIDE)
    red, green, _ = tiles_of(picture)[3][150, 150].tolist()
    assert red > green + 50


def test_an_image_without_a_label_or_a_kept_pixel_can_be_drawn():
    truth = np.full((4, 6), 255)
    picture = draw_hard_pixels(np.zeros((4, 6, 3), np.uint8), truth, truth, truth == 0,
                               np.full((4, 6), np.nan), PALETTE, threshold=float('nan'))
    assert picture.dtype == np.uint8
