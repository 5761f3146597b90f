import numpy as np

from mmseg_ext.visualization import draw_instances

SIZE = 40
TOP = 18  # of the first row of tiles, below the caption


def tiles(masks, votes, truth=None):
    """Image, truth if there is one, prediction, votes: each (40, 40, 3), of a grey image."""
    count = len(masks)
    picture = draw_instances(
        np.full((SIZE, SIZE, 3), 100, np.uint8), masks, np.arange(count), np.ones(count),
        np.tile([0., 30, 9, 40], (count, 1)), votes, truth, list('aaa'), tile_width=SIZE)
    return [picture[y:y + SIZE, x:x + SIZE] for y in range(TOP, len(picture), SIZE + 22)
            for x in (0, SIZE + 4)]


def test_instances_have_colours_of_their_own_and_the_better_one_is_seen():
    masks = np.zeros((2, SIZE, SIZE), bool)
    masks[0, :10] = masks[1, 5:20] = True
    truth = masks[0].astype(int) + 7 * masks[1]
    image, drawn_truth, found, _ = tiles(masks, np.zeros((SIZE, SIZE)), truth)
    assert (image == 100).all()
    assert (found[2, 35] == found[8, 35]).all() and (found[2, 35] != found[15, 35]).any()
    assert (found[25, 35] == 100).all() and (found[10, 35] == 255).all()  # outline
    assert (drawn_truth[2, 35] == found[2, 35]).all()
    assert len(tiles(masks, np.zeros((SIZE, SIZE)))) == 4  # three and an empty one


def test_an_instance_has_its_class_and_score_where_there_is_room():
    masks = np.zeros((1, 150, 150), bool)
    for width, is_there in ((140, True), (20, False)):
        picture = draw_instances(
            np.full((150, 150, 3), 100, np.uint8), masks, np.array([0]), np.array([0.5]),
            np.array([[0., 100, width, 140]]), np.zeros((150, 150)), classes=['a'], tile_width=150)
        tile = picture[TOP:TOP + 150, 154:]
        assert (tile[100:120] == 0).any() == is_there and not (tile[:95] == 0).any()


def test_the_place_that_most_pixels_name_is_the_brightest():
    votes = np.zeros((SIZE, SIZE))
    votes[30, 10], votes[5, 5] = 100, 1
    *_, heat = tiles(np.zeros((0, SIZE, SIZE), bool), votes, np.zeros((SIZE, SIZE), int))
    brightness = heat.sum(axis=2, dtype=int)
    assert brightness[30, 10] == brightness.max() > brightness[5, 5] > brightness[20, 20]
