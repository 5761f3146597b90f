import copy
import pickle

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose, Resize
from mmseg.registry import TRANSFORMS

from mmseg_ext.datasets import ScenesDataset
from mmseg_ext.datasets.numbered_map import NumberedMap, skip_no_number
from mmseg_ext.datasets.transforms import PackInstanceInputs

SIZE = (60, 84)


def make_results(dtype=np.int32, block=5, gaps=1):
    """Instances that are blocks, every second without one: 102 of 5x5 pixels, 630 of 2x2."""
    y, x = np.indices(SIZE)
    number = y // block * -(-SIZE[1] // block) + x // block
    instances = np.where(number % 2, number // 2 + 1, 0) * gaps
    instances = skip_no_number(instances).astype(dtype)
    instances[:4, :9] = 255  # ignored
    labels = np.where(instances > 0, 1 + instances % 3, 0).astype(np.uint8)
    labels[instances == 255] = 255
    rng = np.random.default_rng(0)
    return dict(
        img=rng.integers(0, 255, (*SIZE, 3)).astype(np.uint8), img_shape=SIZE, ori_shape=SIZE,
        img_path='a.png', gt_seg_map=labels, gt_instance_map=instances.view(NumberedMap),
        instance_scale_factor=None, seg_fields=['gt_seg_map', 'gt_instance_map'])


def unpack(packed):
    """The instances, after what holds for every sample was checked."""
    instances = packed['data_samples'].gt_instances.data
    assert instances.dtype == torch.int32 and instances.shape == (1, *packed['inputs'].shape[1:])
    present = np.unique(instances[instances > 0])
    assert np.array_equal(present, np.arange(1, len(present) + 1)) and instances.min() >= 0
    return instances[0].numpy()


def masks_of(instances):
    """Masks of the instances of a map of a pipeline or of a sample, in the order of numbers."""
    return [instances == number for number in np.unique(instances) if number not in (0, 255)]


MOVES = {
    'nothing': [],
    'flip': [dict(type='RandomFlip', prob=1.)],
    'flip vertically': [dict(type='RandomFlip', prob=1., direction='vertical')],
    'shrink': [dict(type='Resize', scale=(41, 33))],
    'enlarge': [dict(type='Resize', scale=(150, 999), keep_ratio=True)],
    'crop': [dict(type='RandomCrop', crop_size=(32, 40))],
    'rotate': [dict(type='RandomRotate', prob=1., degree=30)],
    'pad': [dict(type='Pad', size=(96, 64))],
}
MOVES['all'] = ([dict(type='RandomResize', scale=SIZE[::-1], ratio_range=(0.6, 1.7),
                      keep_ratio=True, resize_type='mmseg.Resize')] +
                MOVES['rotate'] + MOVES['crop'] + MOVES['flip'] + MOVES['pad'])


@pytest.mark.parametrize('dtype, block, gaps', [
    (np.uint8, 5, 1), (np.uint8, 5, 2), (np.int32, 2, 1), (np.int32, 5, 600)])
@pytest.mark.parametrize('name', MOVES)
def test_instances_are_moved_as_if_each_were_a_label_map_of_its_own(name, dtype, block, gaps):
    """102 and 630 instances, of which none is taken for what a rotation or padding fills in."""
    results = make_results(dtype, block, gaps)
    masks = masks_of(np.asarray(results['gt_instance_map']))
    assert len(masks) > (100 if block == 5 else 255)
    masks = masks[::5] + masks[254:257]
    transforms, expected = Compose(MOVES[name]), []
    for mask in masks:
        np.random.seed(7)
        moved = transforms(dict(copy.deepcopy(results), gt_seg_map=mask.astype(np.uint8),
                                seg_fields=['gt_seg_map']))
        expected.append(moved['gt_seg_map'] == 1)
    np.random.seed(7)
    packed = PackInstanceInputs()(transforms(copy.deepcopy(results)))
    instances = unpack(packed)
    for mask in expected:
        numbers = np.unique(instances[mask])
        assert len(numbers) <= 1 and 0 not in numbers
        np.testing.assert_array_equal(np.isin(instances, numbers), mask)
    # one class each, and in no pixel that is ignored
    labels = packed['data_samples'].gt_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(instances > 0, (labels > 0) & (labels < 255))
    for mask in masks_of(instances):
        assert len(np.unique(labels[mask])) == 1


def test_an_instance_in_two_parts_stays_one_and_one_without_a_pixel_is_dropped():
    results = make_results()
    instances = np.zeros(SIZE, np.int32)
    instances[2:5, 2:5] = instances[20:22, 70:80] = 9
    instances[30:40, 10:20] = 4
    results['gt_instance_map'] = instances
    assert unpack(PackInstanceInputs()(copy.deepcopy(results)))[3, 3] == 2
    results['gt_instance_map'] = np.where(instances == 4, 0, instances)
    found = unpack(PackInstanceInputs()(results))
    np.testing.assert_array_equal(found, instances == 9)


@pytest.mark.parametrize('name', ['flip', 'all'])
def test_a_drawn_scene_has_the_instances_of_its_moved_map(name):
    dataset = ScenesDataset(num_images=3, size=(96, 128), pipeline=MOVES[name])
    packed = ScenesDataset(num_images=3, size=(96, 128),
                           pipeline=MOVES[name] + [dict(type='PackInstanceInputs')])
    seen = 0
    for index in range(3):
        np.random.seed(index)
        moved = dataset[index]
        np.random.seed(index)
        sample = packed[index]
        height, width = moved['gt_instance_map'].shape
        instances = unpack(sample)[:height, :width]
        masks = masks_of(np.asarray(moved['gt_instance_map']))
        np.testing.assert_array_equal(masks_of(instances), masks)
        seen += len(masks)
    assert seen > 5


# --------------------------------------------------------------- transforms that forget the map


@pytest.mark.parametrize('resize', ['RandomResize', 'RandomChoiceResize'])
@pytest.mark.parametrize('more', [[], ['crop'], ['crop', 'flip'], ['pad']])
@pytest.mark.parametrize('drawn', [False, True])
def test_a_resize_that_forgets_the_instances_is_named_though_sizes_agree(resize, more, drawn):
    arguments = (dict(scale=SIZE[::-1], ratio_range=(1.3, 1.4), keep_ratio=True)
                 if resize == 'RandomResize' else dict(scales=[(110, 80)]))
    steps = [dict(type=resize, resize_type=Resize, **arguments)]
    steps += [step for name in more for step in MOVES[name]]
    start = ScenesDataset(num_images=1, size=SIZE)[0] if drawn else make_results()
    moved = Compose(steps)(copy.deepcopy(start))
    with pytest.raises(ValueError, match=r"PackInstanceInputs: .* resized by \(1\..* the instances "
                                         r"were not.*resize_type='mmseg.Resize'"):
        PackInstanceInputs()(moved)
    right = Compose([dict(steps[0], resize_type='mmseg.Resize'), *steps[1:]])(start)
    unpack(PackInstanceInputs()(right))


@pytest.mark.parametrize('later, name', [
    (dict(type='RandomFlip', prob=0.), 'RandomFlip'),
    (dict(type='Resize', scale=(90, 70)), 'Resize'),
])
def test_pad_before_what_would_move_the_padding_is_refused(later, name):
    moved = Compose([*MOVES['pad'], later])(make_results())
    with pytest.raises(ValueError, match=f'Pad, .* the instances .* before {name}: put it behind'):
        PackInstanceInputs()(moved)


@pytest.mark.parametrize('key, hint', [
    ('gt_seg_map', 'LoadAnnotations and LoadInstanceAnnotations come'),
    ('gt_instance_map', r"listed in results\['seg_fields'\]")])
def test_a_map_of_another_size_than_the_image_is_refused(key, hint):
    results = make_results()
    results[key] = results[key][:-1]
    with pytest.raises(ValueError, match=f'{key} has 59x84 pixels, but the image 60x84: .*{hint}'):
        PackInstanceInputs()(results)


def test_a_map_of_the_original_size_beside_resized_labels_is_refused():
    results = Compose(MOVES['shrink'])(make_results())
    results['gt_instance_map'] = np.asarray(make_results()['gt_instance_map'])
    with pytest.raises(ValueError, match='gt_instance_map has 60x84 pixels, but the image 33x41'):
        PackInstanceInputs()(results)


# ------------------------------------------------------------------------------------ in a test


def test_ground_truth_that_is_loaded_behind_resize_keeps_the_original_size():
    results = make_results()
    truth = {key: results.pop(key) for key in ('gt_seg_map', 'gt_instance_map')}
    results = Compose(MOVES['shrink'])(dict(results, seg_fields=[]))
    results.update(truth, seg_fields=list(truth), instance_scale_factor=results['scale_factor'])
    packed = PackInstanceInputs()(results)
    assert packed['inputs'].shape == (3, 33, 41)
    sample = packed['data_samples']
    assert sample.gt_sem_seg.data.shape == sample.gt_instances.data.shape == (1, *SIZE)


def test_an_image_without_ground_truth_is_packed_without_instances():
    image = make_results()['img']
    packed = PackInstanceInputs()(dict(img=image, img_shape=SIZE, ori_shape=SIZE))
    assert 'gt_instances' not in packed['data_samples']
    assert packed['data_samples'].ori_shape == SIZE


def test_all_else_is_packed_as_mmseg_does_and_survives_pickle():
    results = make_results()
    expected = TRANSFORMS.build(dict(type='PackSegInputs'))(copy.deepcopy(results))
    packed = pickle.loads(pickle.dumps(PackInstanceInputs()(copy.deepcopy(results))))
    assert packed['inputs'].equal(expected['inputs'])
    sample = packed['data_samples']
    assert sample.gt_sem_seg.data.equal(expected['data_samples'].gt_sem_seg.data)
    assert sample.metainfo == expected['data_samples'].metainfo
    assert unpack(packed).any()
    chosen = PackInstanceInputs(meta_keys=('img_path', ))(results)['data_samples']
    assert set(chosen.metainfo) == {'img_path'}


@pytest.mark.parametrize('change, error, message', [
    (dict(gt_instance_map=np.full(SIZE, -1)), ValueError, 'holds -1, but instances have numbers'),
    (dict(gt_instance_map=None), KeyError, 'gives no instances; it needs LoadInstanceAnnotations'),
])
def test_wrong_or_missing_instances_are_refused(change, error, message):
    results = dict(make_results(), **change)
    if results['gt_instance_map'] is None:
        del results['gt_instance_map']
    with pytest.raises(error, match=message):
        PackInstanceInputs()(results)
