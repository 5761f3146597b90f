import copy
import pickle

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose, Resize
from mmseg.registry import TRANSFORMS
from scipy import ndimage

from mmseg_ext.datasets.numbered_map import NumberedMap, skip_no_number
from mmseg_ext.datasets.transforms import GenerateRegions, PackRegionInputs
from mmseg_ext.ops import RegionSet

SIZE = (60, 84)
RESIZE = "resize_type='mmseg.Resize'"


def masks_of(cells, indptr, indices):
    """Masks of regions, one after the other."""
    return [np.isin(cells, indices[a:b]) for a, b in zip(indptr, indptr[1:])]


def unpack(packed):
    """Masks of the packed regions, after what holds for every RegionSet was checked."""
    regions = packed['data_samples'].metainfo['regions']
    assert isinstance(regions, RegionSet)
    assert [x.dtype for x in regions] == [torch.int32, torch.int64, torch.int64]
    cells, indptr, indices = (x.numpy() for x in regions)
    assert cells.shape == tuple(packed['inputs'].shape[1:])
    present = np.unique(cells[cells >= 0])
    assert np.array_equal(present, np.arange(len(present))) and cells.min() >= -1
    assert vars(regions) == dict(num_cells=len(present))  # carried, not looked for
    assert indptr[0] == 0 and indptr[-1] == len(indices) and (np.diff(indptr) > 0).all()
    assert set(indices) <= set(present)
    for a, b in zip(indptr, indptr[1:]):
        assert (np.diff(indices[a:b]) > 0).all()
    return masks_of(cells, indptr, indices)


def make_results(seed=0, size=SIZE, cell=5, num_regions=40):
    """An image of blocks that are cells, random regions of them, and labels with unlabelled ones.

    60x84 in blocks of 5 are 204 cells, in blocks of 4 they are 315: more than a label map has.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    cells = (y // cell * -(-size[1] // cell) + x // cell).astype(np.int32)
    members = [np.sort(rng.choice(cells.max() + 1, rng.integers(1, 30), replace=False))
               for _ in range(num_regions)]
    indptr = np.cumsum([0] + [len(m) for m in members])
    labels = ndimage.zoom(rng.integers(0, 4, (-(-size[0] // 6), -(-size[1] // 6))), 6, order=0)
    labels = labels[:size[0], :size[1]].astype(np.uint8)
    labels[labels == 3] = 255
    return dict(
        img=rng.integers(0, 255, (*size, 3)).astype(np.uint8),
        img_shape=size, ori_shape=size, img_path='a.png', gt_seg_map=labels,
        region_cells=skip_no_number(cells).view(NumberedMap),
        region_index=(indptr, skip_no_number(np.concatenate(members))),
        region_scale_factor=None,
        seg_fields=['gt_seg_map', 'region_cells'])


def proposals(results):
    return masks_of(np.asarray(results['region_cells']), *results['region_index'])


MOVES = {
    'flip': [dict(type='RandomFlip', prob=1.)],
    'flip vertically': [dict(type='RandomFlip', prob=1., direction='vertical')],
    'shrink': [dict(type='Resize', scale=(41, 33))],
    'enlarge': [dict(type='Resize', scale=(150, 999), keep_ratio=True)],
    'random resize': [dict(type='RandomResize', scale=SIZE[::-1], ratio_range=(0.6, 1.7),
                           keep_ratio=True, resize_type='mmseg.Resize')],
    'crop': [dict(type='RandomCrop', crop_size=(32, 40))],
    'rotate': [dict(type='RandomRotate', prob=1., degree=30)],
    'pad': [dict(type='Pad', size=(96, 64))],
    'pad to a multiple': [dict(type='Pad', size_divisor=32)],
}
MOVES['pad, then crop'] = MOVES['pad'] + MOVES['crop']
MOVES['all'] = (MOVES['random resize'] + MOVES['rotate'] + MOVES['crop'] + MOVES['flip'] +
                MOVES['pad'])


@pytest.mark.parametrize('cell', [5, 4, 2])
@pytest.mark.parametrize('name', MOVES)
def test_regions_are_moved_as_if_each_were_a_label_map_of_its_own(name, cell):
    """mmseg's own transforms; 204, 315 and 1,260 cells, so that 255 is and is not among them."""
    results = make_results(cell=cell)
    masks = proposals(results)
    # mmseg moves every seg field; where it pads, it pads gt_seg_map alone
    transforms = Compose(MOVES[name])
    expected = []
    for mask in masks:
        np.random.seed(7)
        moved = transforms(dict(copy.deepcopy(results), gt_seg_map=mask.astype(np.uint8),
                                seg_fields=['gt_seg_map']))
        expected.append(moved['gt_seg_map'] == 1)
    np.random.seed(7)
    moved = transforms(copy.deepcopy(results))
    assert moved['region_cells'].dtype == np.int32
    found = unpack(PackRegionInputs()(moved))
    np.testing.assert_array_equal(found, [mask for mask in expected if mask.any()])


@pytest.mark.parametrize('resize', ['RandomResize', 'RandomChoiceResize'])
@pytest.mark.parametrize('more', [[], ['crop'], ['crop', 'flip'], ['pad'], ['crop', 'flip', 'pad']])
def test_a_resize_that_forgets_the_regions_is_named_even_if_sizes_agree_later(resize, more):
    """After a crop the map has the size of the image, but shows another part of it.

    In the scope of mmseg the resize type 'Resize' is mmseg's, in others it is mmcv's.
    """
    arguments = (dict(scale=SIZE[::-1], ratio_range=(1.3, 1.4), keep_ratio=True)
                 if resize == 'RandomResize' else dict(scales=[(110, 80)]))
    steps = [dict(type=resize, resize_type=Resize, **arguments)]
    steps += [step for name in more for step in MOVES[name]]
    moved = Compose(steps)(make_results())
    with pytest.raises(ValueError, match=rf'resized by \(1\..* the regions were not.*{RESIZE}'):
        PackRegionInputs()(moved)
    right = Compose([dict(steps[0], resize_type='mmseg.Resize'), *steps[1:]])(make_results())
    assert unpack(PackRegionInputs()(right))


def test_regions_found_after_a_resize_are_not_taken_for_forgotten():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    steps = [dict(type='Resize', scale=(80, 60)), dict(type='GenerateRegions'),
             dict(type='PackRegionInputs')]
    assert unpack(Compose(steps)(dict(img=image)))


@pytest.mark.parametrize('later, name', [
    (dict(type='RandomFlip', prob=0.), 'RandomFlip'),
    (dict(type='Resize', scale=(90, 70)), 'Resize'),
])
def test_pad_before_what_would_move_the_padding_is_refused(later, name):
    moved = Compose([*MOVES['pad'], later])(make_results())
    with pytest.raises(ValueError, match=f'Pad, .* comes before {name}: put it behind'):
        PackRegionInputs()(moved)


def test_a_transform_that_moves_the_image_alone_is_told_by_the_size():
    results = make_results()
    results['img'] = results['img'][:-1]
    with pytest.raises(ValueError, match=r'gt_seg_map has 60x84 pixels, .* 59x84'):
        PackRegionInputs(gt_regions=True)(results)
    with pytest.raises(ValueError, match=r"region_cells has 60x84 .* 59x84: .*'seg_fields'"):
        PackRegionInputs()(results)


def test_other_maps_are_padded_with_255_too():
    results = make_results()
    results['gt_instance_map'] = np.ones(SIZE, np.uint8)
    results['seg_fields'].append('gt_instance_map')
    moved = Compose(MOVES['pad'])(results)
    PackRegionInputs()(moved)
    expected = np.full((64, 96), 255)
    expected[:60, :84] = 1
    np.testing.assert_array_equal(moved['gt_instance_map'], expected)


def test_labels_of_a_test_keep_the_original_size():
    results = make_results()
    labels = results.pop('gt_seg_map')
    results['seg_fields'].remove('gt_seg_map')
    resized = Compose([dict(type='Resize', scale=(42, 30))])(results)
    resized['gt_seg_map'] = labels  # LoadAnnotations behind Resize
    resized['seg_fields'].append('gt_seg_map')
    packed = PackRegionInputs()(dict(resized))
    assert packed['data_samples'].gt_sem_seg.data.shape == (1, *SIZE)
    assert unpack(packed)[0].shape == (30, 42)
    with pytest.raises(ValueError, match='load the labels before Resize'):
        PackRegionInputs(gt_regions=True)(dict(resized))


def components_of(labels):
    """Masks of the 8-connected components per label, in the order of their first pixels."""
    masks = []
    for label in np.unique(labels[labels != 255]):
        numbers, count = ndimage.label(labels == label, np.ones((3, 3)))
        masks += [numbers == k for k in range(1, count + 1)]
    return sorted(masks, key=lambda mask: mask.ravel().argmax())


LABELS = {
    'blocks': make_results()['gt_seg_map'],
    'noise': np.random.default_rng(1).choice([0, 1, 255], SIZE).astype(np.uint8),
    'thin': np.where(np.add(*np.indices(SIZE)) % 5 == 0, 7, 255).astype(np.uint8),
    'one': np.zeros(SIZE, np.uint8),
}


@pytest.mark.parametrize('name', LABELS)
def test_the_truth_adds_its_components_and_every_cell_has_one_label(name):
    results = make_results()
    results['gt_seg_map'] = labels = LABELS[name]
    expected = proposals(results) + components_of(labels)
    packed = PackRegionInputs(gt_regions=True)(results)
    np.testing.assert_array_equal(unpack(packed), expected)
    cells = packed['data_samples'].metainfo['regions'].cells.numpy()
    pairs = np.unique(np.stack([cells.ravel(), labels.ravel()]), axis=1)
    assert pairs.shape[1] == cells.max() + 1
    for component in components_of(labels):
        inside, outside = set(cells[component]), set(cells[~component])
        assert not inside & outside


def test_the_truth_is_complete_where_no_cell_is():
    results = make_results()
    results['region_cells'][10:30, 10:50] = 255
    labels = results['gt_seg_map'] = LABELS['blocks']
    expected = [m for m in proposals(results) if m.any()] + components_of(labels)
    packed = PackRegionInputs(gt_regions=True)(results)
    np.testing.assert_array_equal(unpack(packed), expected)
    cells = packed['data_samples'].metainfo['regions'].cells.numpy()
    nowhere = np.zeros(SIZE, bool)
    nowhere[10:30, 10:50] = labels[10:30, 10:50] == 255
    np.testing.assert_array_equal(cells == -1, nowhere)


def test_without_labelled_pixels_nothing_is_added_or_dropped():
    results = make_results()
    results['gt_seg_map'][:] = 255
    expected = proposals(results)
    found = unpack(PackRegionInputs(gt_regions=True, min_gt_iou=0.9)(results))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('threshold', [0.06, 0.1, 0.3])
def test_proposals_far_from_the_truth_are_dropped(threshold):
    results = make_results(num_regions=80)
    truth = components_of(results['gt_seg_map'])
    kept = [mask for mask in proposals(results)
            if max((mask & t).sum() / (mask | t).sum() for t in truth) >= threshold]
    assert len(kept) < 80
    found = unpack(PackRegionInputs(gt_regions=True, min_gt_iou=threshold)(results))
    np.testing.assert_array_equal(found, kept + truth)


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.zeros_like(mask)
    box[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1] = True
    return box


@pytest.mark.parametrize('gt_regions', [False, True])
@pytest.mark.parametrize('most', [2, 6, 30])
def test_rectangular_regions_are_the_boxes_of_all_regions(gt_regions, most):
    results = make_results(num_regions=30)
    rng = np.random.default_rng(most)
    members = []
    for _ in range(30):  # cells near each other, so that boxes differ
        row, column = rng.integers(0, 12), rng.integers(0, 17)
        rows = row + rng.integers(0, most, 3).clip(max=11 - row)
        members.append(np.unique(rows * 17 + (column + rng.integers(0, most, 3)).clip(max=16)))
    results['region_index'] = (np.cumsum([0] + [len(m) for m in members]),
                               np.concatenate(members))
    results['region_cells'][40:, 50:] = 255
    masks = [mask for mask in proposals(results) if mask.any()]
    if gt_regions:
        masks += components_of(results['gt_seg_map'])
    packed = PackRegionInputs(rectangular=True, gt_regions=gt_regions)(copy.deepcopy(results))
    boxes = [box_of(mask) for mask in masks]
    np.testing.assert_array_equal(unpack(packed), boxes)
    # no more cells than there are sets of boxes; those in none are no cell
    cells = packed['data_samples'].metainfo['regions'].cells.numpy()
    sets = np.unique(np.stack(boxes).reshape(len(boxes), -1), axis=1)
    assert cells.max() + 1 == sets.any(0).sum()
    np.testing.assert_array_equal(cells == -1, ~np.any(boxes, axis=0))
    again = PackRegionInputs(rectangular=True, gt_regions=gt_regions)(copy.deepcopy(results))
    for one, other in zip(packed['data_samples'].metainfo['regions'],
                          again['data_samples'].metainfo['regions']):
        assert one.equal(other)


@pytest.mark.parametrize('rectangular', [False, True])
def test_an_image_without_any_cell_has_no_regions(rectangular):
    results = make_results()
    results['region_cells'][:] = 255
    packed = PackRegionInputs(rectangular=rectangular)(results)
    regions = packed['data_samples'].metainfo['regions']
    assert (regions.cells == -1).all() and regions.cells.shape == SIZE
    assert regions.indptr.tolist() == [0] and len(regions.indices) == 0
    assert [x.dtype for x in regions] == [torch.int32, torch.int64, torch.int64]


def test_all_else_is_packed_as_mmseg_does():
    results = make_results()
    expected = TRANSFORMS.build(dict(type='PackSegInputs'))(copy.deepcopy(results))
    packed = PackRegionInputs()(copy.deepcopy(results))
    assert packed['inputs'].equal(expected['inputs'])
    sample = packed['data_samples']
    assert sample.gt_sem_seg.data.equal(expected['data_samples'].gt_sem_seg.data)
    assert set(sample.metainfo) == {*expected['data_samples'].metainfo, 'regions'}
    chosen = PackRegionInputs(meta_keys=('img_path', ))(copy.deepcopy(results))['data_samples']
    assert set(chosen.metainfo) == {'img_path', 'regions'}


def test_a_packed_sample_survives_pickle():
    packed = PackRegionInputs(gt_regions=True)(make_results())
    again = pickle.loads(pickle.dumps(packed))
    np.testing.assert_array_equal(unpack(again), unpack(packed))


def test_the_flipped_branch_of_test_time_augmentation_has_flipped_regions():
    results = make_results()
    masks = proposals(results)
    augment = TRANSFORMS.build(dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)],
        [dict(type='PackRegionInputs')]]))
    packed = augment(results)
    for inputs, sample, flipped in zip(packed['inputs'], packed['data_samples'], (False, True)):
        found = unpack(dict(inputs=inputs, data_samples=sample))
        np.testing.assert_array_equal(found, [m[:, ::-1] if flipped else m for m in masks])


@pytest.mark.parametrize('wrong, message', [
    (dict(min_gt_iou=0.1), 'needs gt_regions=True'),
    (dict(min_gt_iou=1.5, gt_regions=True), r'must be in \[0, 1\], got 1.5'),
])
def test_a_wrong_argument_is_refused_when_the_transform_is_built(wrong, message):
    with pytest.raises(ValueError, match=message):
        PackRegionInputs(**wrong)


@pytest.mark.parametrize('missing, message', [
    ('region_cells', 'needs LoadRegions'), ('gt_seg_map', 'no LoadAnnotations')])
def test_a_pipeline_without_regions_or_labels_is_told_what_it_lacks(missing, message):
    results = make_results()
    del results[missing]
    with pytest.raises(KeyError, match=message):
        PackRegionInputs(gt_regions=True)(results)


def test_it_follows_generate_regions_in_a_pipeline_with_scaling_and_crop():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    results = GenerateRegions(scale=10, min_size=10)(
        dict(img=image, gt_seg_map=np.tril(np.ones((64, 64), np.uint8)), seg_fields=['gt_seg_map']))
    packed = Compose([*MOVES['all'], dict(type='PackRegionInputs', gt_regions=True)])(results)
    labels = packed['data_samples'].gt_sem_seg.data[0].numpy()
    masks = unpack(packed)
    np.testing.assert_array_equal(np.any(masks, axis=0) | (labels == 255), True)
    assert {tuple(np.unique(labels[m])) for m in masks[-2:]} <= {(0, ), (1, )}
