import numpy as np
import pytest

from mmseg_ext.visualization import colorize, draw_stages

PALETTE = [[255, 0, 0], [0, 255, 0]]


def test_colorize_paints_classes_and_leaves_ignored_pixels_white():
    picture = colorize(np.array([[0, 1, 255]]), PALETTE)
    assert picture.tolist() == [[[255, 0, 0], [0, 255, 0], [255, 255, 255]]]


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.int64, np.float32])
def test_class_255_has_its_colour_where_it_is_a_class(dtype):
    palette = [[c // 2, c % 250, 7] for c in range(256)]
    picture = colorize(np.array([[0, 254, 255]], dtype=dtype), palette)
    assert picture.tolist() == [[palette[0], palette[254], palette[255]]]


def test_300_classes_have_300_colours_and_what_is_none_of_them_is_white():
    palette = [[c // 2, c % 250, 7] for c in range(300)]
    label = np.arange(-1, 302)[None].astype(np.int16)
    picture = colorize(label, palette)[0].tolist()
    assert picture[1:-2] == palette
    assert picture[0] == picture[-2] == picture[-1] == [255, 255, 255]
    strip = draw_stages(np.zeros((1, 1, 3), np.uint8), np.array([[[255]], [[299]]], np.int16),
                        palette, tile_width=40)
    assert strip[-15, 44 + 20].tolist() == palette[255]
    assert strip[-15, 88 + 20].tolist() == palette[299]


def test_the_strip_shows_input_truth_and_stages_in_order():
    image = np.full((30, 40, 3), 77, np.uint8)
    stages = np.stack([np.zeros((30, 40), np.uint8), np.ones((30, 40), np.uint8)])
    strip = draw_stages(image, stages, PALETTE, truth=np.full((30, 40), 255), tile_width=40)
    assert strip.shape[1] == 4 * 44 - 4
    middle = strip[-15]
    assert middle[20].tolist() == [77, 77, 77]
    assert middle[44 + 20].tolist() == [255, 255, 255]
    assert middle[88 + 20].tolist() == PALETTE[0]
    assert middle[132 + 20].tolist() == PALETTE[1]


def test_without_truth_the_strip_is_one_tile_shorter():
    image, stages = np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8), np.uint8)
    with_truth = draw_stages(image, stages, PALETTE, truth=stages[0])
    without = draw_stages(image, stages, PALETTE)
    assert with_truth.shape[1] - without.shape[1] == 244
