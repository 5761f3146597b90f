import glob
import os
import tracemalloc

import cv2
import numpy as np
import pytest
import torch

from mmseg_ext.ops import extension_loaded
from mmseg_ext.ops.hierarchical_regions import (
    convert_colours,
    group_cells,
    hierarchical_regions,
    neighbouring_cells,
    reference_histograms,
    reference_merges,
    texture_filters,
)

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
each_implementation = pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
needs_extension = pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')


def blocks(widths, values, height=8):
    """Upright stripes: an image with one grey value in each, and its cells."""
    cells = np.repeat(np.arange(len(widths), dtype=np.int32), widths)
    cells = np.repeat(cells[None], height, axis=0)
    return np.stack([np.array(values, np.uint8)[cells]] * 3, axis=2), cells


def random_cells(seed, size=(17, 23), num_cells=25):
    """Cells around random points: some of one pixel, some in several pieces."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, size, (num_cells, 2))
    away = np.abs(np.indices(size)[:, None] - points.T[:, :, None, None]).sum(0)
    cells = np.where(rng.random(size) < 0.05, rng.integers(num_cells, size=size), away.argmin(0))
    return np.unique(cells, return_inverse=True)[1].reshape(size).astype(np.int32)


def random_image(seed, size=(17, 23), num_values=256):
    """Noise; few values make many pairs of cells equally similar."""
    rng = np.random.default_rng(seed)
    return (rng.integers(num_values, size=(*size, 3)) * (255 // (num_values - 1))).astype(np.uint8)


def scene(size=(96, 128), seed=0):
    """Flat shapes under a gradient with some noise."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*size, 3))
    image += np.linspace(60, 160, size[1])[:, None]
    for _ in range(12):
        centre = tuple(int(c) for c in rng.integers(0, size[::-1]))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        cv2.circle(image, centre, int(rng.integers(4, 24)), colour, -1)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def members(tree):
    return [tuple(tree.members(r).tolist()) for r in range(tree.num_regions)]


def assert_same(tree, other):
    for name in ('cells', 'indptr', 'indices', 'parents'):
        values = getattr(tree, name)
        assert np.array_equal(values, getattr(other, name)), name
        assert values.dtype == getattr(other, name).dtype, name


@each_implementation
def test_hierarchies_of_four_stripes_by_hand(implementation):
    """By colour the black and the white two belong together. Without it the middle two do: both
    have the edge between them. The outer two then are equally similar to it, and the first wins."""
    image, cells = blocks([10] * 4, [0, 0, 255, 255])
    tree = group_cells(image, cells, implementation=implementation)
    assert members(tree) == [(0, ), (1, ), (2, ), (3, ), (0, 1), (2, 3), (1, 2), (0, 1, 2),
                             (0, 1, 2, 3)]
    assert tree.parents.tolist() == [[4, 7], [4, 6], [5, 6], [5, 8], [8, -1], [8, -1], [-1, 7],
                                     [-1, 8], [-1, -1]]
    assert tree.areas().tolist() == [80] * 4 + [160] * 3 + [240, 320]
    assert tree.boxes()[[0, 3, 6, 8]].tolist() == [[0, 0, 9, 7], [30, 0, 39, 7], [10, 0, 29, 7],
                                                   [0, 0, 39, 7]]
    assert tree.cells.dtype == np.int32
    assert tree.indptr.dtype == tree.indices.dtype == tree.parents.dtype == np.int64


@each_implementation
@pytest.mark.parametrize('counts, sizes, boxes', [
    # 0.5 in common against 0.75
    ([[4, 0], [2, 2], [1, 3]], [4, 4, 4], [(0, 0, 3, 0), (4, 0, 7, 0), (8, 0, 11, 0)]),
    # the first two have more pixels in common, but as a part of each 0.5 against 1
    ([[16, 0], [4, 4], [1, 1]], [16, 8, 2], [(0, 0, 15, 0), (16, 0, 23, 0), (24, 0, 25, 0)]),
    # small ones first
    ([[6, 6], [3, 3], [1, 1]], [12, 6, 2], [(0, 0, 11, 0), (12, 0, 17, 0), (18, 0, 19, 0)]),
    # the box around the first two is less full
    ([[4, 0]] * 3, [4, 4, 4], [(0, 1, 1, 2), (2, 0, 3, 1), (4, 0, 5, 1)]),
], ids=['histogram', 'normalised', 'size', 'fill'])
def test_what_decides_which_pair_comes_first(implementation, counts, sizes, boxes):
    arguments = [np.array(x, np.int64) for x in (sizes, boxes, [[0, 1], [1, 2]])]
    if implementation == 'reference':
        merges = reference_merges([np.array(counts)], *arguments, 50)
    else:
        merges = torch.ops.mmseg_ext.merge_cells(
            [torch.tensor(counts).int()], *map(torch.from_numpy, arguments), 50)
    assert merges.tolist() == [[1, 2], [0, 3]]


def test_neighbours_share_an_edge_and_not_only_a_corner():
    cells = np.array([[0, 1, 1], [2, 3, 1]], np.int32)
    assert neighbouring_cells(cells).tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert neighbouring_cells(cells[:1, :1]).shape == (0, 2)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('with_colour', [True, False])
def test_each_merge_is_of_the_most_similar_neighbours(seed, with_colour):
    """The formulas of the paper, computed anew from the pixels of all pairs at each step."""
    image, cells = random_image(seed, num_values=4), random_cells(seed, num_cells=9)
    histograms = reference_histograms(image, cells, cells.max() + 1)
    per_pixel = dict(colour=3, texture=24)
    kinds = ['colour', 'texture'] if with_colour else ['texture']
    sizes = np.bincount(cells.ravel())
    merges = reference_merges(
        [histograms[k] for k in kinds], sizes,
        np.array([cv2.boundingRect(np.uint8(cells == c)) for c in range(len(sizes))])
        @ [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]] - [0, 0, 1, 1],
        neighbouring_cells(cells), cells.size)

    def similarity(a, b):
        masks = [np.isin(cells, region) for region in (a, b)]
        areas = [mask.sum() for mask in masks]
        width, height = cv2.boundingRect(np.uint8(masks[0] | masks[1]))[2:]
        total = 1 - sum(areas) / cells.size + 1 - (width * height - sum(areas)) / cells.size
        for kind in kinds:
            shares = [histograms[kind][region].sum(0) / area / per_pixel[kind]
                      for region, area in zip((a, b), areas)]
            assert shares[0].sum() == pytest.approx(1)
            total += np.minimum(*shares).sum()
        return total

    def touch(a, b):
        grown = cv2.dilate(np.uint8(np.isin(cells, a)),
                           cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
        return (grown & np.isin(cells, b)).any()

    regions = {c: [c] for c in range(len(sizes))}
    for step, (a, b) in enumerate(merges.tolist()):
        assert touch(regions[a], regions[b])
        best = max(similarity(regions[i], regions[j]) for i in regions for j in regions
                   if i < j and touch(regions[i], regions[j]))
        assert similarity(regions[a], regions[b]) == pytest.approx(best)
        regions[len(sizes) + step] = regions.pop(a) + regions.pop(b)
    assert len(regions) == 1


@needs_extension
@pytest.mark.parametrize('num_values', [2, 4, 256])
@pytest.mark.parametrize('size', [(17, 23), (1, 40), (40, 1), (3, 3)])
@pytest.mark.parametrize('seed', range(5))
def test_both_implementations_find_the_same_in_noise(num_values, size, seed):
    image, cells = random_image(seed, size, num_values), random_cells(seed, size)
    assert_same(group_cells(image, cells, implementation='cpp'),
                group_cells(image, cells, implementation='reference'))


@needs_extension
@pytest.mark.parametrize('colour_space', ['rgb', 'hsv', 'lab'])
def test_both_implementations_find_the_same_in_a_scene(colour_space):
    options = dict(scale=20, min_cell_size=5)
    for seed in range(3):
        image = scene(seed=seed)
        assert_same(*(hierarchical_regions(image, colour_space, implementation=name, **options)
                      for name in ('cpp', 'reference')))


@needs_extension
@pytest.mark.parametrize('channels', [1, 3])
def test_both_implementations_count_the_same(channels):
    image, cells = random_image(0)[:, :, :channels].copy(), random_cells(0)
    expected = reference_histograms(image, cells, cells.max() + 1)
    filters = [torch.from_numpy(x) for x in texture_filters()]
    bins = torch.arange(256, dtype=torch.int32) * 24 * 2 + 255
    found = torch.ops.mmseg_ext.cell_histograms(
        torch.from_numpy(image), torch.from_numpy(cells), len(expected['colour']), bins // 510,
        *filters)
    for kind, counts in zip(('colour', 'texture'), found):
        assert np.array_equal(counts.numpy(), expected[kind])


@each_implementation
@pytest.mark.parametrize('seed', range(3))
def test_properties_of_a_tree(implementation, seed):
    image = random_image(seed, (40, 50))
    tree = hierarchical_regions(image, scale=10, min_cell_size=8, implementation=implementation)
    num_cells = tree.cells.max() + 1
    regions = members(tree)
    sets = [set(region) for region in regions]
    assert num_cells > 20
    assert num_cells < len(regions) <= 3 * num_cells - 2
    assert all(list(region) == sorted(set(region)) for region in regions)
    assert len(set(regions)) == len(regions), 'duplicates'
    assert regions[-1] == tuple(range(num_cells))
    assert set(regions) > {(cell, ) for cell in range(num_cells)}

    areas, boxes, pairs = tree.areas(), tree.boxes(), neighbouring_cells(tree.cells)
    assert (np.diff(areas) >= 0).all()
    for r in range(len(regions)):
        mask = tree.mask(r)
        y, x = mask.nonzero()
        assert areas[r] == mask.sum()
        assert boxes[r].tolist() == [x.min(), y.min(), x.max(), y.max()]
    for parents in tree.parents.T:
        in_hierarchy = np.append(parents[:-1] >= 0, True)
        assert in_hierarchy.sum() == 2 * num_cells - 1
        for r in np.flatnonzero(in_hierarchy):
            children = np.flatnonzero(parents == r)
            if len(regions[r]) == 1:
                assert len(children) == 0
                continue
            a, b = (sets[child] for child in children)
            assert a | b == sets[r] and not a & b
            assert any((i in a and j in b) or (i in b and j in a) for i, j in pairs.tolist())
    assert (tree.parents[:-1].max(axis=1) >= 0).all()


def test_two_colours_are_two_regions_and_the_image():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:45] = (200, 30, 90)
    for colour_space in ('rgb', 'hsv', 'lab'):
        tree = hierarchical_regions(image, colour_space, sigma=0)
        assert tree.areas().tolist() == [500, 1900, 2400]
        assert np.array_equal(tree.mask(0), image[..., 0] > 0)
        assert tree.boxes().tolist() == [[20, 10, 44, 29], [0, 0, 59, 39], [0, 0, 59, 39]]
        assert tree.parents.tolist() == [[2, 2], [2, 2], [-1, -1]]


@each_implementation
@pytest.mark.parametrize('image', [
    np.full((30, 40, 3), 128, np.uint8),
    np.zeros((1, 1, 3), np.uint8),
    random_image(0, (1, 9)),
    random_image(0, (9, 1)),
], ids=['constant', '1x1', '1x9', '9x1'])
def test_an_image_of_one_cell_is_one_region(implementation, image):
    """Also where it has fewer pixels than a cell or a region should have."""
    tree = hierarchical_regions(image, min_size=5000, implementation=implementation)
    assert not tree.cells.any() and tree.cells.shape == image.shape[:2]
    assert tree.indptr.tolist() == [0, 1] and tree.indices.tolist() == [0]
    assert tree.parents.tolist() == [[-1, -1]]
    assert tree.areas().tolist() == [image.shape[0] * image.shape[1]]


@pytest.mark.parametrize('size', [(1, 9), (9, 1), (2, 2)])
def test_tiny_images_with_a_cell_for_each_pixel(size):
    image = random_image(1, size)
    tree = hierarchical_regions(image, scale=0, sigma=0, min_cell_size=0)
    assert sorted(tree.cells.ravel()) == list(range(size[0] * size[1]))
    assert tree.areas()[-1] == size[0] * size[1]


def test_scale_is_in_units_of_8_bit_images():
    """Two pixels stay apart from a distance of k on: here 57 or 58, times the square root of 3."""
    for value, num_cells in ((57, 1), (58, 2)):
        image = np.zeros((1, 2, 3), np.uint8)
        image[0, 1] = value
        tree = hierarchical_regions(image, scale=100, sigma=0, min_cell_size=1)
        assert tree.cells.max() + 1 == num_cells


def test_cells_have_as_many_pixels_as_scale_says_or_as_asked_for():
    image = random_image(0, (64, 64))
    for options, least in ((dict(scale=40), 40), (dict(scale=40, min_cell_size=10), 10)):
        sizes = np.bincount(hierarchical_regions(image, sigma=0.3, **options).cells.ravel())
        assert least <= sizes.min() < least + 20
    sizes = np.bincount(hierarchical_regions(
        image, scale=40, min_cell_size=0, sigma=0.3).cells.ravel())
    assert sizes.min() < 10  # 0 is a size, not the default


@each_implementation
@pytest.mark.parametrize('min_size', [40, 41, 81, 10**6])
def test_smaller_regions_are_left_out(implementation, min_size):
    image, cells = random_image(0, (8, 40)), blocks([5, 10, 5, 15, 5], [0] * 5)[1]
    full = group_cells(image, cells, implementation=implementation)
    tree = group_cells(image, cells, min_size=min_size, implementation=implementation)
    kept = np.flatnonzero(full.areas() >= min_size)
    kept = kept if len(kept) else [len(full.areas()) - 1]
    assert members(tree) == [members(full)[r] for r in kept]
    assert np.array_equal(np.where(tree.parents < 0, -1, tree.parents + kept[0]),
                          full.parents[kept])


def test_a_grey_image_is_grouped():
    grey = scene()[..., 0]
    tree = hierarchical_regions(np.stack([grey] * 3, axis=2), scale=20, min_cell_size=20)
    assert len(tree.indptr) > 20


@each_implementation
def test_the_same_image_gives_the_same_regions_and_is_not_changed(implementation):
    image = scene()
    image.setflags(write=False)
    first, again = (hierarchical_regions(image, implementation=implementation) for _ in range(2))
    assert_same(first, again)
    reversed_channels = np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    assert_same(first, hierarchical_regions(reversed_channels, implementation=implementation))


def test_colour_spaces_as_8_bit_numbers():
    image = np.array([[[255, 0, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)
    assert convert_colours(image, 'rgb').tolist() == image.tolist()
    assert convert_colours(image, 'hsv').tolist() == [[[0, 255, 255], [170, 255, 255],
                                                       [0, 0, 255], [0, 0, 0]]]
    assert convert_colours(image, 'lab').tolist() == [[[136, 208, 195], [82, 207, 20],
                                                       [255, 128, 128], [0, 128, 128]]]


def test_superpixels_are_found_in_the_colour_space():
    """Two shades of one hue and saturation, 200 pixels each: 63 apart in rgb, 40 in hsv."""
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, :10], image[:, 10:] = (100, 90, 80), (140, 126, 112)
    options = dict(scale=200 * 50, min_cell_size=1, sigma=0)
    assert hierarchical_regions(image, 'rgb', **options).cells.max() == 1
    assert hierarchical_regions(image, 'hsv', **options).cells.max() == 0


@needs_extension
def test_memory_does_not_grow_with_regions_times_pixels():
    size = 256
    cells = np.arange(size * size, dtype=np.int32).reshape(size, size)
    cells = cells // (8 * size) * (size // 8) + cells % size // 8
    image = random_image(0, (size, size))
    tracemalloc.start()
    tree = group_cells(image, cells)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * tree.num_regions * cells.size


@needs_extension
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
def test_opcheck():
    image, cells = blocks([3, 4, 5], [0, 100, 200])
    cell_histograms, merge_cells = (
        torch.ops.mmseg_ext.cell_histograms.default, torch.ops.mmseg_ext.merge_cells.default)
    arguments = (torch.from_numpy(image), torch.from_numpy(cells), 3,
                 torch.arange(256, dtype=torch.int32) * 24 // 255,
                 *map(torch.from_numpy, texture_filters()))
    torch.library.opcheck(cell_histograms, arguments)
    boxes = torch.tensor([[0, 0, 2, 7], [3, 0, 6, 7], [7, 0, 11, 7]])
    torch.library.opcheck(merge_cells, (
        list(cell_histograms(*arguments)), torch.tensor([24, 32, 40]), boxes,
        torch.tensor([[0, 1], [1, 2]]), 96))


@pytest.mark.skipif('MMSEG_EXT_DATA' not in os.environ, reason='needs real images')
def test_as_many_regions_as_the_paper_reports_for_street_scenes():
    """About 370 on average for images of 256x256 with k = 100."""
    folder = os.path.join(os.environ['MMSEG_EXT_DATA'], 'labelme_facade')
    paths = sorted(glob.glob(os.path.join(folder, '**', '*.jpg'), recursive=True))[::40]
    numbers = []
    for path in paths:
        image = cv2.resize(cv2.imread(path), (256, 256), interpolation=cv2.INTER_AREA)[..., ::-1]
        tree = hierarchical_regions(image)
        numbers.append(tree.num_regions)
        if len(numbers) == 1:
            assert_same(tree, hierarchical_regions(image, implementation='reference'))
    assert len(numbers) >= 5
    assert 250 < np.mean(numbers) < 500
