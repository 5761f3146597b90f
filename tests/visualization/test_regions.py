import numpy as np
import pytest
import torch

from mmseg_ext.ops import RegionSet
from mmseg_ext.visualization import draw_proposals, draw_winners, winning_regions
from mmseg_ext.visualization.regions import PALE
from mmseg_ext.visualization.tiles import CAPTION_HEIGHT, GAP

PALETTE = [[200, 0, 0], [0, 200, 0]]
SIDE = 320  # of a tile


def make_regions(cells, members):
    """Regions of the given cells."""
    indptr = np.cumsum([0] + [len(cells_of) for cells_of in members])
    indices = np.array([cell for cells_of in members for cell in cells_of], np.int64)
    return RegionSet(torch.tensor(cells, dtype=torch.int32), torch.tensor(indptr),
                     torch.from_numpy(indices))


def tile_of(picture, i, columns):
    row, column = divmod(i, columns)
    y, x = row * (CAPTION_HEIGHT + SIDE + GAP) + CAPTION_HEIGHT, column * (SIDE + GAP)
    return picture[y:y + SIDE, x:x + SIDE]


def at(tile, y, x, pixels=8):
    """The colour in the middle of pixel (y, x) of a square image."""
    step = SIDE // pixels
    return tile[y * step + step // 2, x * step + step // 2].tolist()


def random_case(seed):
    """Scores, regions and a prediction, with pixels without a cell and cells without a region."""
    random = np.random.default_rng(seed)
    cells = random.integers(-1, 12, (9, 7))
    members = [np.sort(random.choice(11, random.integers(1, 6), replace=False)) for _ in range(15)]
    scores = random.integers(0, 4, (15, 3)).astype(np.float32)  # with ties
    return scores, make_regions(cells, members), random.integers(0, 3, (9, 7))


@pytest.mark.parametrize('seed', range(5))
def test_winners_equal_a_loop_over_pixels_and_regions(seed):
    scores, regions, prediction = random_case(seed)
    winners = winning_regions(scores, regions, prediction)
    cells, indptr, indices = (part.tolist() for part in regions)
    for (y, x), label in np.ndenumerate(prediction):
        best = -1
        for r, score in enumerate(scores[:, label]):
            contains = cells[y][x] in indices[indptr[r]:indptr[r + 1]]
            if contains and (best < 0 or score > scores[best, label]):  # the first of equals stays
                best = r
        assert winners[y, x] == best
    assert (winners < 0).any() and (winners >= 0).any()


def test_cells_are_enlarged_to_the_size_of_the_prediction():
    scores, regions, prediction = random_case(0)
    larger = prediction.repeat(3, axis=0).repeat(2, axis=1)
    expected = winning_regions(scores, regions, prediction).repeat(3, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(winning_regions(scores, regions, larger), expected)


def test_without_regions_nothing_wins_and_everything_can_be_drawn():
    regions = make_regions(np.full((8, 8), -1), [])
    prediction = np.zeros((8, 8), np.int64)
    winners = winning_regions(np.zeros((0, 2), np.float32), regions, prediction)
    assert (winners == -1).all() and regions.areas().tolist() == []
    image = np.zeros((8, 8, 3), np.uint8)
    draw_winners(image, prediction, winners, regions, PALETTE)
    draw_proposals(image, regions)


@pytest.fixture
def proposals():
    """64 pixels in four cells: one pixel, three of its row, the rest of the row, the other rows.

    The left half of the image is white, the right one black.
    """
    cells = np.full((8, 8), 3)
    cells[0] = [0, 1, 1, 1, 2, 2, 2, 2]
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :4] = 255
    # 1/64, 4/64, 7/64 and 8/64 of the image, which overlap, 60/64, all
    members = [[0], [0, 1], [1, 2], [0, 1, 2], [2, 3], [0, 1, 2, 3]]
    return image, make_regions(cells, members)


def test_each_scale_has_a_tile_in_which_the_smallest_regions_are_drawn(proposals):
    picture = draw_proposals(*proposals, tile_width=SIDE)
    assert picture.shape == (2 * (CAPTION_HEIGHT + SIDE) + GAP, 3 * SIDE + 2 * GAP, 3)
    _, cells, smallest, middle, largest = (tile_of(picture, i, 3) for i in range(5))
    assert at(cells, 4, 1) == [128] * 3 and at(cells, 0, 2) == [255] * 3  # means

    def is_pale(tile, y, x):
        red, green, blue = at(tile, y, x)
        return green < red < blue

    # 1/64 to 1/16: the one pixel
    assert at(smallest, 0, 0) == [255] * 3 and is_pale(smallest, 0, 1)
    # 1/16 to 1/4: the first of three that overlap, its neighbour is not drawn
    assert at(middle, 0, 2) == [255] * 3 and is_pale(middle, 0, 5) and is_pale(middle, 5, 5)
    # 1/4 to all: two cells of one mean, 56 pixels of 128 and 4 of 0
    assert at(largest, 5, 5) == at(largest, 0, 5) == [119] * 3 and is_pale(largest, 0, 2)


def test_outlines_are_seen_on_every_colour(proposals):
    middle = tile_of(draw_proposals(*proposals, tile_width=SIDE), 3, 3)
    border = middle[20, 4 * 40 - 1:4 * 40 + 1]  # between pixels 3 and 4 of the first row
    assert border.tolist() == [[0] * 3, [255] * 3]
    assert (middle[20, 1 * 40 - 1:1 * 40 + 1] == 255).all()  # none within the region


def test_the_truth_is_the_second_tile_at_any_size(proposals):
    truth = np.zeros((16, 16), np.int64)
    truth[8:] = 255
    picture = draw_proposals(*proposals, truth, PALETTE, tile_width=SIDE)
    tile = tile_of(picture, 1, 3)
    assert at(tile, 1, 1) == PALETTE[0]
    assert sorted(np.unique(tile[SIDE // 2:])) == [110, 200]  # striped
    without = draw_proposals(*proposals, tile_width=SIDE)
    np.testing.assert_array_equal(tile_of(picture, 2, 3), tile_of(without, 1, 3))


def test_pixels_without_a_cell_are_pale_and_the_region_of_all_others_is_not_drawn():
    cells = np.zeros((8, 8))
    cells[:, 4:] = -1
    picture = draw_proposals(np.full((8, 8, 3), 255, np.uint8), make_regions(cells, [[0]]),
                             tile_width=SIDE)
    tile = tile_of(picture, 1, 3)
    assert at(tile, 3, 1) == [255] * 3 and at(tile, 3, 6) == list(PALE)
    assert (tile_of(picture, 2, 3) == 255).all()  # there is no tile of a scale


@pytest.fixture
def winners():
    """What ``draw_winners`` takes: class 0 above, won by three regions; class 1 below by none."""
    cells = np.repeat([[0, 0, 1, 1, 1, 1, 2, 2]], 8, axis=0)
    cells[4:] = -1
    regions = make_regions(cells, [[0], [0, 1], [2]])
    prediction = np.zeros((8, 8), np.int64)
    prediction[4:] = 1
    winner = np.repeat([[0, 0, 1, 1, 1, 1, 2, 2]], 8, axis=0)
    winner[4:] = -1
    image = np.full((8, 8, 3), 77, np.uint8)
    return dict(image=image, prediction=prediction, winners=winner, regions=regions,
                palette=PALETTE, tile_width=SIDE)


def test_winners_are_image_truth_prediction_and_areas(winners):
    truth = np.ones((8, 8), np.int64)
    truth[0] = 255
    picture = draw_winners(truth=truth, classes=('a', 'b'), **winners)
    image, true, predicted, areas = (tile_of(picture, i, 2) for i in range(4))
    assert at(image, 3, 3) == [77] * 3
    assert at(true, 3, 3) == PALETTE[1]
    assert sorted(np.unique(true[:30])) == [110, 200]
    assert at(predicted, 1, 0) == at(predicted, 1, 3) == at(predicted, 1, 7) == PALETTE[0]
    # 8/64, 24/64 and 8/64 of the image: the larger the brighter
    assert at(areas, 1, 0) == at(areas, 1, 7)
    assert sum(at(areas, 1, 3)) > sum(at(areas, 1, 0)) + 50


def test_lines_separate_winners_of_the_same_class_and_pixels_that_none_won_are_striped(winners):
    picture = draw_winners(**winners)
    for tile in (tile_of(picture, 1, 2), tile_of(picture, 2, 2)):  # no truth
        row = tile[60]
        lines = np.flatnonzero((row == 255).all(axis=1))
        assert lines.tolist() == [2 * 40, 6 * 40]
        assert sorted(np.unique(tile[SIDE // 2 + 2:])) == [110, 200]


def test_the_classes_of_prediction_and_truth_are_named_below(winners):
    def legend(**kwargs):
        picture = draw_winners(**dict(winners, **kwargs))
        colours = picture[2 * (CAPTION_HEIGHT + SIDE) + GAP:].reshape(-1, 3)
        return [(colours == colour).all(axis=1).any() for colour in PALETTE]

    assert legend() == [True, True]
    zeros = np.zeros((8, 8), np.int64)
    assert legend(prediction=zeros) == [True, False]
    assert legend(prediction=zeros, truth=zeros + 1) == [True, True]
    assert legend(prediction=zeros, truth=zeros + 255) == [True, False]


def test_a_legend_of_many_classes_takes_more_lines(winners):
    palette = [[5 * c, 100, 0] for c in range(40)]
    few = draw_winners(**dict(winners, palette=palette), classes=['class'] * 40)
    prediction = np.arange(64).reshape(8, 8) % 40
    many = draw_winners(**dict(winners, palette=palette, prediction=prediction),
                        classes=['class'] * 40)
    assert many.shape[0] > few.shape[0] and many.shape[1] == few.shape[1]
