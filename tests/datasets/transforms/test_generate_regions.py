import copy

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmcv.transforms.utils import cache_random_params
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from mmseg_ext.datasets import ScenesDataset  # noqa: F401
from mmseg_ext.datasets.numbered_map import NO_NUMBER, NumberedMap, skip_no_number
from mmseg_ext.datasets.transforms import GenerateRegions
from mmseg_ext.ops import hierarchical_regions

SETTINGS = dict(scale=20., min_size=20)


@pytest.fixture(scope='module')
def image():
    """BGR noise on a coarse pattern, so that there are many cells."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 200, (6, 8, 3)).repeat(10, axis=0).repeat(10, axis=1)
    return (blocks + rng.integers(0, 40, (60, 80, 3))).astype(np.uint8)


def masks_of(cells, index):
    indptr, indices = index
    return [np.isin(cells, indices[a:b]) for a, b in zip(indptr, indptr[1:])]


@pytest.mark.parametrize('space', ['rgb', 'hsv', 'lab'])
def test_the_regions_are_those_of_the_image_as_rgb(image, space):
    results = GenerateRegions(space, **SETTINGS)(dict(img=image))
    tree = hierarchical_regions(
        np.ascontiguousarray(image[..., ::-1]), space, scale=20, sigma=0.8, min_size=20)
    found = masks_of(results['region_cells'], results['region_index'])
    assert len(found) > 10
    np.testing.assert_array_equal(found, [tree.mask(r) for r in range(len(tree.indptr) - 1)])
    assert results['seg_fields'] == ['region_cells']
    assert results['region_cells'].dtype == np.int32
    assert [x.dtype for x in results['region_index']] == [np.int64, np.int64]


def test_min_size_leaves_out_small_regions_and_the_map_stays_in_seg_fields_once(image):
    transform = GenerateRegions(scale=20, min_size=1000)
    results = transform(transform(dict(img=image, seg_fields=['gt_seg_map'])))
    assert results['seg_fields'] == ['gt_seg_map', 'region_cells']
    areas = [mask.sum() for mask in masks_of(results['region_cells'], results['region_index'])]
    assert min(areas) >= 1000


def test_without_overlap_every_superpixel_is_a_region_and_nothing_else(image):
    # min_size does not leave any out: every pixel is in exactly one region
    results = GenerateRegions(scale=20, min_size=2000, overlapping=False)(dict(img=image))
    cells = hierarchical_regions(np.ascontiguousarray(image[..., ::-1]), scale=20).cells
    found = masks_of(results['region_cells'], results['region_index'])
    np.testing.assert_array_equal(found, [cells == c for c in range(cells.max() + 1)])


def test_no_cell_is_numbered_255():
    cells = np.arange(600, dtype=np.int32)
    numbers = skip_no_number(cells)
    assert numbers.dtype == np.int32 and NO_NUMBER == 255
    assert set(range(601)) - set(numbers.tolist()) == {255}
    assert (np.diff(numbers) > 0).all()


def test_random_colour_space_follows_numpys_seed_and_takes_all_three(image):
    transform = GenerateRegions('random', **SETTINGS)
    kinds = {space: GenerateRegions(space, **SETTINGS)(dict(img=image))['region_cells']
             for space in ('rgb', 'hsv', 'lab')}

    def draw():
        np.random.seed(3)
        drawn = [transform(dict(img=image))['region_cells'] for _ in range(12)]
        return [next(k for k, v in kinds.items() if np.array_equal(v, cells)) for cells in drawn]

    first = draw()
    assert set(first) == set(kinds)
    assert draw() == first


def test_random_colour_space_is_kept_where_mmcv_repeats_a_draw(image):
    transform = GenerateRegions('random', **SETTINGS)
    with cache_random_params(transform):
        first, *others = (transform(dict(img=image))['region_cells'] for _ in range(8))
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize('wrong, message', [
    (dict(colour_space='luv'), r"'random', got 'luv'"),
    (dict(scale=-1), 'scale must not be negative, got -1'),
    (dict(sigma=-1), 'sigma must not be negative'),
    (dict(min_size=-1), 'min_size must not be negative'),
])
def test_a_wrong_argument_is_refused_when_the_transform_is_built(wrong, message):
    with pytest.raises(ValueError, match=message):
        GenerateRegions(**wrong)


def test_the_map_keeps_its_type_through_copies_only():
    """This is how PackRegionInputs knows that Resize has forgotten it."""
    import mmcv
    cells = np.arange(300, dtype=np.int32).reshape(15, 20).view(NumberedMap)
    for same in (cells[2:9, 3:], mmcv.imflip(cells, 'vertical').copy(), copy.copy(cells)):
        assert type(same) is NumberedMap and same.dtype == np.int32
    for new in (mmcv.imresize(cells, (40, 30), interpolation='nearest'),
                mmcv.imrotate(cells, 20, interpolation='nearest')):
        assert type(new) is np.ndarray and new.dtype == np.int32


def test_repr_names_the_settings():
    assert repr(GenerateRegions('lab', min_size=7)) == (
        "GenerateRegions(colour_space='lab', scale=100.0, sigma=0.8, min_size=7, "
        'overlapping=True)')


def test_drawn_scenes_come_out_of_a_worker_process_with_their_regions():
    dataset = DATASETS.build(dict(
        type='ScenesDataset', num_images=2, size=(48, 64), pipeline=[
            dict(type='GenerateRegions', **SETTINGS),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackRegionInputs', gt_regions=True)]))
    batch = next(iter(DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=pseudo_collate)))
    for inputs, sample in zip(batch['inputs'], batch['data_samples']):
        regions = sample.metainfo['regions']
        assert type(regions).__name__ == 'RegionSet'
        assert tuple(regions.cells.shape) == tuple(inputs.shape[1:]) == (48, 64)
        assert len(regions.indptr) > 10 and len(regions.indices) == regions.indptr[-1]


def test_any_pipeline_finds_it_among_the_transforms_of_mmseg(image):
    results = Compose([dict(type='mmseg.GenerateRegions', **SETTINGS)])(dict(img=image))
    assert 'region_index' in results
