import numpy as np

from mmseg_ext.visualization import colorize, draw_stages

PALETTE = [[255, 0, 0], [0, 255, 0]]


def test_colorize_paints_classes_and_leaves_ignored_pixels_white():
    picture = colorize(np.array([[0, 1, 255]]), PALETTE)
    assert picture.tolist() == [[[255, 0, 0], [0, 255, 0], [255, 255, 255]]]


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
