import cv2
import numpy as np
import pytest
import torch

from mmseg_ext.visualization import (
    draw_embedding,
    draw_embedding_sheet,
    draw_entropy,
    draw_entropy_sheet,
)
from mmseg_ext.visualization.edges import relative_entropy
from mmseg_ext.visualization.tiles import CAPTION_HEIGHT, GAP

PALETTE = [[200, 0, 0], [0, 200, 0], [0, 0, 200]]
SIDE = 240  # of a tile
CERTAIN, UNCERTAIN = [0, 0, 128], [128, 0, 0]  # the ends of the colours of entropy
DARKEST = draw_embedding(np.zeros((1, 1)))[0, 0].tolist()
BRIGHTEST = draw_embedding(np.array([[0., 1.]]))[0, 1].tolist()


def tile_of(picture, row, column):
    y, x = row * (CAPTION_HEIGHT + SIDE + GAP) + CAPTION_HEIGHT, column * (SIDE + GAP)
    return picture[y:y + SIDE, x:x + SIDE]


def caption_of(picture, row, column):
    y, x = row * (CAPTION_HEIGHT + SIDE + GAP), column * (SIDE + GAP)
    return picture[y:y + CAPTION_HEIGHT, x:x + SIDE + GAP]


def at(tile, y, x, pixels=8):
    """The colour in the middle of pixel (y, x) of a square image."""
    step = SIDE // pixels
    return tile[y * step + step // 2, x * step + step // 2].tolist()


def one_hot(labels, num_classes=3):
    return np.moveaxis(np.eye(num_classes, dtype=np.float32)[labels], -1, 0)


def test_entropy_equals_a_computation_by_hand():
    p = np.array([[1., 0., 0.], [.5, .5, 0.], [1 / 3, 1 / 3, 1 / 3], [.7, .2, .1]])
    by_hand = -(.7 * np.log(.7) + .2 * np.log(.2) + .1 * np.log(.1))
    expected = np.array([0, np.log(2), np.log(3), by_hand]) / np.log(3)
    entropy = relative_entropy(p.T.reshape(3, 2, 2))
    np.testing.assert_allclose(entropy.ravel(), expected, atol=1e-6)


def test_certain_pixels_are_blue_and_undecided_ones_red():
    picture = draw_entropy(np.array([[[1., .5]], [[0., .5]]]))
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[CERTAIN, UNCERTAIN]]


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_entropy_takes_tensors_of_a_network(dtype):
    logits = torch.randn(11, 8, 8, requires_grad=True)
    p = logits.softmax(dim=0)
    np.testing.assert_allclose(relative_entropy(p.to(dtype)), relative_entropy(p), atol=0.02)


@pytest.mark.parametrize('wrong', [
    np.random.default_rng(0).normal(size=(3, 4, 4)), np.full((3, 4, 4), .5),
    np.full((3, 4, 4), np.nan)
], ids=['logits', 'sum of 1.5', 'NaN'])
def test_what_are_no_probabilities_is_refused(wrong):
    with pytest.raises(ValueError, match='take the softmax of logits'):
        draw_entropy(wrong)


@pytest.mark.parametrize('shape', [(1, 4, 4), (4, 4)])
def test_entropy_of_one_class_is_refused(shape):
    with pytest.raises(ValueError, match='at least 2 classes'):
        draw_entropy(np.ones(shape))


def test_an_embedding_is_drawn_from_its_smallest_to_its_largest_value():
    picture = draw_embedding(torch.tensor([[-2., 3.], [.5, -2.]], requires_grad=True))
    assert picture[0].tolist() == [DARKEST, BRIGHTEST] and picture[1, 1].tolist() == DARKEST
    assert sum(DARKEST) < picture[1, 0].sum() < sum(BRIGHTEST)


def test_an_embedding_of_one_value_is_dark():
    assert (draw_embedding(np.full((2, 3), 7.)) == DARKEST).all()


@pytest.fixture
def images():
    """Image, truth with a row that has no label, and two networks: sure, and unsure on the left."""
    image, truth = np.full((8, 8, 3), 77, np.uint8), np.zeros((8, 8), np.int64)
    truth[:, 4:], truth[7] = 1, 255
    sure = one_hot(np.where(truth == 255, 2, truth))
    unsure = sure.copy()
    unsure[:, :, :4] = 1 / 3
    return image, truth, sure, torch.from_numpy(unsure)


def test_the_entropy_sheet_is_a_column_of_image_and_truth_and_one_of_each_network(images):
    image, truth, sure, unsure = images
    sheet = draw_entropy_sheet(image, truth, [('a', sure), ('b', unsure)], PALETTE,
                               ('sky', 'tree', 'car'), tile_width=SIDE)
    assert sheet.shape[1] == 3 * SIDE + 2 * GAP
    assert at(tile_of(sheet, 0, 0), 3, 3) == [77] * 3
    assert at(tile_of(sheet, 1, 0), 3, 3) == PALETTE[0]
    assert sorted(np.unique(tile_of(sheet, 1, 0)[-SIDE // 8:])) == [110, 200]  # striped
    assert (tile_of(sheet, 0, 1) == CERTAIN).all()
    assert at(tile_of(sheet, 0, 2), 3, 3) == UNCERTAIN and at(tile_of(sheet, 0, 2), 3, 5) == CERTAIN
    for column in (1, 2):
        assert at(tile_of(sheet, 1, column), 3, 5) == PALETTE[1]
    assert at(tile_of(sheet, 1, 1), 7, 3) == PALETTE[2]


def test_the_scale_of_entropy_and_the_classes_are_below(images):
    image, truth, sure, _ = images
    sheet = draw_entropy_sheet(image, truth, [('', sure)], PALETTE, tile_width=SIDE)
    below = sheet[2 * (CAPTION_HEIGHT + SIDE) + GAP:].reshape(-1, 3)
    for colour in [CERTAIN, UNCERTAIN, *PALETTE]:
        assert (below == colour).all(axis=1).any()


def test_the_entropy_of_a_large_image_is_averaged_before_it_gets_a_colour():
    p = np.zeros((2, 2 * SIDE, 2 * SIDE), np.float32)
    p[0] = 1
    p[:, :, ::2] = .5
    sheet = draw_entropy_sheet(np.zeros((*p.shape[1:], 3), np.uint8), p[0].astype(int), [('', p)],
                               PALETTE, tile_width=SIDE)
    half = cv2.applyColorMap(np.full((1, 1), 128, np.uint8), cv2.COLORMAP_JET)[0, 0, ::-1]
    assert (tile_of(sheet, 0, 1) == half).all()


def test_a_long_name_is_cut_before_the_next_tile(images):
    image, truth, sure, _ = images
    long, short = 'many_letters ' * 9, 'b'
    sheet = draw_entropy_sheet(image, truth, [(long, sure), (short, sure)], PALETTE,
                               tile_width=SIDE)
    alone = draw_entropy_sheet(image, truth, [(short, sure), (short, sure)], PALETTE,
                               tile_width=SIDE)
    assert not np.array_equal(caption_of(sheet, 1, 1), caption_of(alone, 1, 1))
    for row in (0, 1):
        np.testing.assert_array_equal(caption_of(sheet, row, 2), caption_of(alone, row, 2))


def test_tiles_may_be_smaller_than_what_is_written(images, layers):
    image, truth, sure, _ = images
    entropy = draw_entropy_sheet(image, truth, [('name', sure)], PALETTE, tile_width=8)
    assert entropy.shape[1] == 2 * 8 + GAP
    embedding = draw_embedding_sheet(image, truth, layers, PALETTE, tile_width=8)
    assert embedding.shape[1] == 4 * 8 + 3 * GAP


def test_the_truth_may_have_another_size(images):
    image, truth, sure, _ = images
    larger = truth.repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(
        draw_entropy_sheet(image, larger, [('', sure)], PALETTE, tile_width=SIDE),
        draw_entropy_sheet(image, truth, [('', sure)], PALETTE, tile_width=SIDE))


@pytest.fixture
def layers():
    """Two layers; the last channel is like the edges of a prediction that changes at x = 4."""
    half = torch.zeros(8, 8)
    half[:, :4] = 1
    edges = torch.zeros(8, 8)
    edges[:, 3:5] = 1
    blurred = edges + 0.5 * half
    first = torch.stack([9 * half, blurred, edges])
    return first, torch.stack([0 * half, half, 2 * edges])


def test_the_embedding_sheet_shows_the_maps_that_are_most_like_edges(images, layers):
    image, prediction = images[0], np.repeat([[0] * 4 + [1] * 4], 8, axis=0)
    sheet = draw_embedding_sheet(image, prediction, layers, PALETTE, num_maps=2, tile_width=SIDE)
    assert sheet.shape[1] == 3 * SIDE + 2 * GAP
    assert at(tile_of(sheet, 0, 0), 3, 3) == [77] * 3
    assert at(tile_of(sheet, 1, 0), 3, 3) == PALETTE[0]
    at_edges = [x in (3, 4) for x in range(8)]
    row = [at(tile_of(sheet, 0, 1), 5, x) for x in range(8)]
    assert [colour == BRIGHTEST for colour in row] == at_edges
    row = [at(tile_of(sheet, 1, 1), 5, x) for x in range(8)]
    assert [colour == BRIGHTEST for colour in row] == at_edges
    # second comes the blurred one, before the largest variance
    assert at(tile_of(sheet, 0, 2), 5, 3) == BRIGHTEST
    assert at(tile_of(sheet, 0, 2), 5, 4) not in (BRIGHTEST, DARKEST)
    assert at(tile_of(sheet, 1, 2), 5, 0) == BRIGHTEST  # half: before a constant


def test_a_layer_with_few_channels_shows_those_it_has(images, layers):
    image, truth = images[:2]
    sheet = draw_embedding_sheet(image, truth, layers, PALETTE, num_maps=9, tile_width=SIDE)
    assert sheet.shape[1] == 4 * SIDE + 3 * GAP


def test_the_classes_of_the_prediction_are_below_the_embeddings(images, layers):
    image = images[0]
    sheet = draw_embedding_sheet(image, np.full((8, 8), 2), layers, PALETTE, tile_width=SIDE)
    below = sheet[2 * (CAPTION_HEIGHT + SIDE) + GAP:].reshape(-1, 3)
    assert [(below == colour).all(axis=1).any() for colour in PALETTE] == [False, False, True]
