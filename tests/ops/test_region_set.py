import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement
from torch.utils.data import default_collate

from mmseg_ext.ops import RegionSet, hierarchical_regions, transpose_index
from mmseg_ext.ops.region_tree import RegionTree

# 0 0 1 -    region 0: cell 0; region 1: cells 1 and 2; region 2: all
# 2 1 1 -
CELLS = np.array([[0, 0, 1, -1], [2, 1, 1, -1]], np.int32)
INDPTR, INDICES = np.array([0, 1, 3, 6]), np.array([0, 1, 2, 0, 1, 2])
ARRAYS = RegionSet(CELLS, INDPTR, INDICES)
TENSORS = RegionSet(*map(torch.from_numpy, (CELLS, INDPTR, INDICES)))

each_kind = pytest.mark.parametrize('regions', [ARRAYS, TENSORS], ids=['arrays', 'tensors'])


@each_kind
def test_by_hand(regions):
    found = dict(
        of_entry=regions.region_of_entry, cell_areas=regions.cell_areas(), areas=regions.areas(),
        boxes=regions.boxes(), members=regions.members(1), mask=regions.mask(1))
    assert all(type(values) is type(regions.cells) for values in found.values())
    assert {name: values.tolist() for name, values in found.items()} == dict(
        of_entry=[0, 1, 1, 2, 2, 2], cell_areas=[2, 3, 1], areas=[2, 4, 6],
        boxes=[[0, 0, 1, 0], [0, 0, 2, 1], [0, 0, 2, 1]], members=[1, 2],
        mask=[[False, False, True, False], [True, True, True, False]])
    assert (regions.num_regions, regions.num_cells) == (3, 3)
    assert str(found['areas'].dtype).endswith('int64')


@each_kind
def test_the_regions_of_each_cell_are_the_transposed_index(regions):
    transposed = regions.transposed()
    assert all(type(part) is type(regions.cells) for part in transposed)
    assert [part.tolist() for part in transposed] == [[0, 2, 4, 6], [0, 2, 1, 2, 1, 2]]
    expected = transpose_index(torch.from_numpy(INDPTR), torch.from_numpy(INDICES), 3)
    for found, part in zip(transposed, expected):
        assert np.array_equal(found, part)


@each_kind
def test_selected_regions_keep_their_cells(regions):
    chosen = regions.select(np.array([True, False, True]))
    assert [part.tolist() for part in chosen[1:]] == [[0, 1, 4], [0, 0, 1, 2]]
    assert type(chosen.indices) is type(regions.indices)
    assert chosen.num_cells == 3 and chosen.areas().tolist() == [2, 6]


@each_kind
def test_arrays_and_tensors_share_their_memory(regions):
    arrays, tensors = regions.arrays(), regions.tensors()
    assert isinstance(arrays.cells, np.ndarray) and isinstance(tensors.cells, torch.Tensor)
    assert np.shares_memory(arrays.cells, CELLS)
    assert tensors.cells.data_ptr() == CELLS.__array_interface__['data'][0]


@pytest.mark.parametrize('cells', [np.full((2, 3), -1), np.zeros((0, 3))], ids=['none', 'no pixel'])
def test_a_map_without_cells_has_no_regions(cells):
    regions = RegionSet(cells.astype(np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64))
    for each in (regions, regions.tensors()):
        assert each.num_cells == each.num_regions == 0
        assert each.areas().tolist() == each.region_of_entry.tolist() == []
        assert tuple(each.boxes().shape) == (0, 4)
        assert [part.tolist() for part in each.transposed()] == [[0], []]


COPIES = {
    'pickle': lambda regions: pickle.loads(pickle.dumps(regions)),
    'deepcopy': copy.deepcopy,
    'data element': lambda regions: BaseDataElement(
        metainfo=dict(regions=regions)).to('cpu').regions,
    'new data element': lambda regions: BaseDataElement(
        metainfo=dict(regions=regions)).new().regions,
    'tensors': RegionSet.tensors,
    'arrays': RegionSet.arrays,
}


@pytest.mark.parametrize('name', COPIES)
def test_a_known_number_of_cells_travels_along(name):
    """It is another than the map says, so nothing has looked for it there."""
    again = COPIES[name](RegionSet(*TENSORS, 7))
    assert type(again) is RegionSet and again.num_cells == 7
    for found, expected in zip(again, TENSORS):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize('collate', [
    lambda regions: default_collate([regions])._replace(cells=regions.cells),
    lambda regions: pseudo_collate([regions])._replace(cells=regions.cells),
    BaseDataPreprocessor().cast_data,
    lambda regions: regions._replace(cells=regions.cells.flip(0))],
    ids=['torch', 'mmengine', 'cast', 'flipped'])
def test_what_is_built_anew_from_its_parts_is_a_region_set(collate):
    again = collate(TENSORS)
    assert type(again) is RegionSet and again.num_cells == 3


def test_another_map_has_its_own_number_of_cells():
    assert ARRAYS.num_cells == 3
    assert ARRAYS._replace(cells=CELLS[:1, :2]).num_cells == 1


@pytest.fixture(scope='module')
def tree():
    image = np.random.default_rng(0).integers(0, 256, (17, 23, 3)).astype(np.uint8)
    return hierarchical_regions(image, scale=5, min_cell_size=4)


def test_the_regions_of_a_tree_follow_when_their_cells_are_moved(tree):
    """Some then have no pixel, and the last cells may be nowhere."""
    moved = tree._replace(cells=tree.cells[2:5, 9::-1])
    areas, boxes = moved.areas(), moved.boxes()
    assert (areas == 0).any() and moved.cells.max() + 1 < moved.num_cells == tree.num_cells
    for region in range(tree.num_regions):
        mask = tree.mask(region)[2:5, 9::-1]
        assert np.array_equal(moved.mask(region), mask) and areas[region] == mask.sum()
        if areas[region]:
            y, x = mask.nonzero()
            assert boxes[region].tolist() == [x.min(), y.min(), x.max(), y.max()]
        else:
            assert boxes[region, 2] < boxes[region, 0]


@pytest.mark.parametrize('change', [
    copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree)),
    lambda tree: tree._replace(cells=tree.cells[:, ::-1])], ids=['copy', 'pickle', 'moved'])
def test_a_tree_keeps_its_parents(tree, change):
    again = change(tree)
    assert type(again) is RegionTree and isinstance(again, RegionSet)
    assert np.array_equal(again.parents, tree.parents) and again.num_cells == tree.num_cells
    assert np.array_equal(again.indices, tree.indices)
