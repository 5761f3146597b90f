import os
import pickle
import random
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset, pseudo_collate
from mmseg.datasets import transforms  # noqa: F401
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from mmseg_ext.datasets.scenes import CLASSES, PALETTE, THING_CLASSES, draw_scene
from mmseg_ext.datasets.scenes.canvas import Canvas
from mmseg_ext.datasets.scenes.classes import CAR, PEDESTRIAN, POLE, ROAD
from mmseg_ext.datasets.scenes_dataset import ScenesDataset

THINGS = [CLASSES.index(name) for name in THING_CLASSES]
TRAIN_PIPELINE = [
    dict(type='RandomResize', scale=(160, 160), ratio_range=(0.8, 1.4), keep_ratio=True,
         resize_type='mmseg.Resize'),
    dict(type='RandomCrop', crop_size=(64, 96), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


CHECKSUMS = """
import zlib
from mmseg_ext.datasets.scenes import draw_scene
sums = [zlib.crc32(b''.join(array.tobytes() for array in draw_scene(seed, index, (96, 128))))
        for seed, index in order]
"""


def checksums(order):
    names = dict(order=order)
    exec(CHECKSUMS, names)
    return dict(zip(order, names['sums']))


@pytest.fixture(scope='module')
def scenes():
    """60 scenes at full size: list of (image, labels, instances)."""
    return [draw_scene(0, index, (256, 256)) for index in range(60)]


# ------------------------------------------------------------------------------ determinism


def test_the_same_numbers_draw_the_same_scene_in_any_order():
    order = [(seed, index) for seed in (0, 1) for index in range(4)]
    assert checksums(order) == checksums(order[::-1])


def test_another_process_draws_the_same_scenes_whatever_its_state():
    order = [(3, 5), (0, 2), (0, 0)]
    code = ('import cv2, numpy\ncv2.setNumThreads(1)\nnumpy.random.seed(1)\n'
            f'order = {order}\n{CHECKSUMS}\nprint(sums)')
    environment = dict(os.environ, PYTHONHASHSEED='1',
                       PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split('\n')[-2] == str([*checksums(order).values()])


def test_other_seeds_and_other_indices_draw_other_scenes():
    labels = [draw_scene(seed, index, (64, 64))[1] for seed in (0, 1, 2) for index in (0, 1, 2)]
    for first in range(9):
        for second in range(first):
            assert (labels[first] != labels[second]).mean() > 0.05


def test_training_and_validation_seeds_share_no_scene():
    train = {draw_scene(0, index, (32, 32))[0].tobytes() for index in range(40)}
    val = {draw_scene(1, index, (32, 32))[0].tobytes() for index in range(40)}
    assert len(train) == len(val) == 40
    assert not train & val


def test_global_random_states_are_neither_read_nor_changed():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = draw_scene(0, 5, (64, 64))
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())
    for one, other in zip(first, draw_scene(0, 5, (64, 64))):
        assert np.array_equal(one, other)


def test_another_size_shows_the_same_street():
    small, large = (draw_scene(0, 8, (side, side))[1] for side in (128, 256))
    assert (cv2.resize(large, (128, 128), interpolation=cv2.INTER_NEAREST) == small).mean() > 0.9


# ---------------------------------------------------------------------------------- content


@pytest.mark.parametrize('size', [(16, 16), (33, 47), (47, 33), (16, 300), (300, 16), (129, 255),
                                  (512, 1024)])
def test_any_size_gives_arrays_of_that_size(size):
    for seed in range(4):
        image, labels, instances = draw_scene(seed, 0, size)
        assert image.shape == (*size, 3) and labels.shape == instances.shape == size
        assert image.dtype == labels.dtype == instances.dtype == np.uint8
        assert image.flags.c_contiguous and image.std() > 5
        assert len(np.unique(labels)) >= 3


def test_labels_are_classes_or_ignored_and_some_pixels_are_ignored(scenes):
    values = set(np.unique([labels for _, labels, _ in scenes]))
    assert values == {*range(len(CLASSES)), 255}
    ignored = np.mean([labels == 255 for _, labels, _ in scenes])
    assert 0.002 < ignored < 0.05


def test_the_rarest_class_is_under_half_a_percent_yet_in_a_fifth_of_the_images(scenes):
    share = [np.mean([labels == c for _, labels, _ in scenes]) for c in range(len(CLASSES))]
    present = [np.mean([(labels == c).any() for _, labels, _ in scenes])
               for c in range(len(CLASSES))]
    rarest = int(np.argmin(share))
    assert 0 < share[rarest] < 0.005
    assert present[rarest] >= 0.2


def test_most_pole_pixels_vanish_under_an_opening_by_five_pixels(scenes):
    before = after = 0
    for _, labels, _ in scenes:
        poles = (labels == POLE).astype(np.uint8)
        before += poles.sum()
        after += cv2.morphologyEx(poles, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)).sum()
    assert before > 1000
    assert after < 0.5 * before


def test_colour_alone_does_not_give_the_class(scenes):
    # The best guess from 4096 colours, fitted to the very pixels it is asked about.
    colours = np.concatenate([(image // 16).reshape(-1, 3) for image, _, _ in scenes])
    labels = np.concatenate([labels.ravel() for _, labels, _ in scenes])
    cells = colours.astype(int) @ (256, 16, 1)
    counts = np.zeros((4096, 256), int)
    np.add.at(counts, (cells, labels), 1)
    hits = counts.argmax(1)
    recall = [(hits[cells[labels == c]] == c).mean() for c in range(len(CLASSES))]
    assert np.mean(recall) < 0.5


# -------------------------------------------------------------------------------- instances


def test_every_instance_has_one_class_and_every_thing_pixel_an_instance(scenes):
    for _, labels, instances in scenes:
        things = np.isin(labels, THINGS)
        objects = (instances > 0) & (instances < 255)
        assert np.array_equal(things, objects)
        assert (labels[instances == 255] == 255).all()
        ids = np.unique(instances[objects])
        assert np.array_equal(ids, np.arange(1, len(ids) + 1))
        for number in ids:
            assert len(np.unique(labels[instances == number])) == 1


def test_unlabelled_pixels_of_objects_have_instance_255(scenes):
    assert sum((instances == 255).any() for _, _, instances in scenes) > 10
    assert all((labels[instances == 0] != CAR).all() for _, labels, instances in scenes)


def test_some_cars_are_cut_in_two_by_what_stands_before_them(scenes):
    # A car is one connected shape, so two sizeable parts with one number mean an occluder.
    cut = 0
    for _, labels, instances in scenes:
        for number in np.unique(instances[labels == CAR]):
            mask = (instances == number).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            cut += (stats[1:, cv2.CC_STAT_AREA] >= 20).sum() > 1
    assert cut > 5


def test_what_is_painted_later_covers_colour_label_and_instance_of_what_was_there():
    canvas = Canvas((20, 20))
    canvas.rows(0, np.zeros((3, 20, 20), np.float32), np.full((20, 20), ROAD, np.uint8))
    square = np.array([(2., 2.), (12., 2.), (12., 12.), (2., 12.)])
    far, hidden, near = (canvas.new_object(label) for label in (CAR, CAR, PEDESTRIAN))
    canvas.polygon(square, (10, 0, 0), far)
    canvas.polygon(square + 6, (0, 10, 0), hidden)
    canvas.polygon(square + 5, (0, 0, 10), near)
    canvas.polygon(square + 6, (0, 0, 10), near)
    labels, instances = canvas.maps()
    assert (labels[3, 3], labels[10, 10], labels[19, 0]) == (CAR, PEDESTRIAN, ROAD)
    # The hidden object leaves no gap in the numbers.
    assert (instances[3, 3], instances[10, 10], instances[19, 0]) == (1, 2, 0)
    assert canvas.pixels[10, 10, :3].tolist() == [0, 0, 10]
    assert 0 < (instances == 1).sum() < 100


# ------------------------------------------------------------------------------ the data set


def test_a_sample_carries_image_both_maps_and_their_description():
    dataset = ScenesDataset(num_images=20, size=(48, 64), seed=7)
    sample = dataset[12]
    image, labels, instances = draw_scene(7, 12, (48, 64))
    assert np.array_equal(sample['img'], image)
    assert np.array_equal(sample['gt_seg_map'], labels)
    assert np.array_equal(sample['gt_instance_map'], instances)
    assert sample['img_shape'] == sample['ori_shape'] == (48, 64)
    assert sample['img_path'] == 'scenes/seed7_000012.png'
    assert sample['seg_fields'] == ['gt_seg_map', 'gt_instance_map']
    assert (sample['sample_idx'], sample['label_map'], sample['reduce_zero_label']) == (12, None,
                                                                                       False)


def test_meta_information_names_a_colour_for_every_class():
    meta = ScenesDataset(num_images=1).metainfo
    assert meta['classes'] == CLASSES and len(CLASSES) >= 8
    assert len(meta['palette']) == len({tuple(colour) for colour in PALETTE}) == len(CLASSES)


def test_it_is_built_by_name_with_the_lists_that_configs_give():
    dataset = DATASETS.build(dict(type='ScenesDataset', num_images=3, size=[40, 50]))
    assert len(dataset) == 3 and dataset[-1]['img'].shape == (40, 50, 3)
    assert dataset[-1]['img_path'] == dataset[2]['img_path']


def test_indices_keep_the_scenes_they_name():
    dataset = ScenesDataset(num_images=10, size=(32, 32), indices=[7, 2])
    assert len(dataset) == 2
    assert np.array_equal(dataset[0]['img'], draw_scene(0, 7, (32, 32))[0])
    assert len(ScenesDataset(num_images=10, indices=4)) == 4


def test_data_info_is_had_without_drawing(monkeypatch):
    monkeypatch.setattr('mmseg_ext.datasets.scenes_dataset.draw_scene', None)
    info = ScenesDataset(num_images=3, seed=2).get_data_info(1)
    assert info['img_path'] == 'scenes/seed2_000001.png' and info['scene'] == (2, 1)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_lazy_and_pickled_data_sets_give_the_same_samples(serialize_data):
    dataset = ScenesDataset(num_images=3, size=(32, 32), serialize_data=serialize_data)
    lazy = ScenesDataset(num_images=3, size=(32, 32), lazy_init=True)
    for other in (pickle.loads(pickle.dumps(dataset)), lazy):
        assert np.array_equal(other[2]['img'], dataset[2]['img'])


def test_a_subset_of_classes_is_renumbered_and_the_rest_is_ignored_with_its_objects():
    dataset = ScenesDataset(num_images=4, metainfo=dict(classes=('car', 'road')))
    assert dataset.metainfo['palette'] == [PALETTE[CAR], PALETTE[ROAD]]
    for index in range(4):
        _, labels, instances = draw_scene(0, index)
        sample = dataset[index]
        expected = np.full_like(labels, 255)
        expected[labels == CAR], expected[labels == ROAD] = 0, 1
        assert np.array_equal(sample['gt_seg_map'], expected)
        moved = sample['gt_instance_map']
        assert np.array_equal(moved[labels == CAR], instances[labels == CAR])
        assert (moved[labels == PEDESTRIAN] == 255).all()
        assert (moved[instances == 0] == 0).all()


def test_reduce_zero_label_ignores_class_zero_and_shifts_the_others():
    labels = draw_scene(0, 0, (64, 64))[1]
    reduced = ScenesDataset(size=(64, 64), reduce_zero_label=True)[0]['gt_seg_map']
    assert (reduced[np.isin(labels, (0, 255))] == 255).all()
    others = (labels > 0) & (labels < 255)
    assert np.array_equal(reduced[others], labels[others] - 1)


def test_ignore_index_marks_the_unlabelled_pixels():
    labels = draw_scene(0, 1, (64, 64))[1]
    changed = ScenesDataset(size=(64, 64), ignore_index=200)[1]['gt_seg_map']
    assert (labels == 255).any()
    assert np.array_equal(changed == 200, labels == 255)


# --------------------------------------------------------------------------------- pipelines


def test_mmseg_augmentations_move_both_maps_together():
    dataset = ScenesDataset(num_images=6, size=(128, 128), pipeline=TRAIN_PIPELINE[:-1])
    seen = 0
    for _ in range(3):
        for index in range(6):
            sample = dataset[index]
            labels, instances = sample['gt_seg_map'], sample['gt_instance_map']
            assert labels.shape == instances.shape == sample['img'].shape[:2]
            objects = (instances > 0) & (instances < 255)
            assert np.array_equal(np.isin(labels, THINGS), objects)
            seen += objects.any()
    assert seen > 6


def test_a_data_loader_with_workers_gives_packed_samples():
    dataset = ScenesDataset(num_images=8, size=(128, 128), pipeline=TRAIN_PIPELINE)
    loader = DataLoader(dataset, batch_size=4, num_workers=2, collate_fn=pseudo_collate)
    batches = list(loader)
    assert len(batches) == 2
    for batch in batches:
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            assert image.shape == (3, 64, 96)
            assert sample.gt_sem_seg.data.shape == (1, 64, 96)
            assert sample.ori_shape == (128, 128)
            assert sample.img_path.startswith('scenes/seed0_')


def test_workers_draw_the_scenes_that_the_main_process_draws():
    dataset = ScenesDataset(num_images=6, size=(40, 40), pipeline=TRAIN_PIPELINE[-1:])
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=pseudo_collate)
    for index, batch in enumerate(loader):
        assert torch.equal(batch['inputs'][0], dataset[index]['inputs'])


@pytest.mark.parametrize('wrap, length', [
    (lambda dataset: ConcatDataset([dataset, ScenesDataset(num_images=2, size=(32, 32), seed=1)]),
     5),
    (lambda dataset: RepeatDataset(dataset, 2), 6),
])
def test_wrappers_of_mmengine_take_it(wrap, length):
    dataset = wrap(ScenesDataset(num_images=3, size=(32, 32)))
    assert len(dataset) == length
    assert dataset[length - 1]['gt_instance_map'].shape == (32, 32)


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize('wrong, message', [
    (dict(num_images=0), 'num_images must be an integer of at least 1, but 0 was given'),
    (dict(size=(15, 64)), r'size must be \(height, width\), two integers of at least 16'),
    (dict(size=(64., 64)), r'size must be .* but \(64.0, 64\) was given'),
    (dict(size=(64, 64, 3)), r'size must be .* but \(64, 64, 3\) was given'),
    (dict(size=64), 'size must be .* but 64 was given'),
    (dict(seed=-1), r'seed must be an integer from 0 to 2\*\*32 - 1, but -1 was given'),
    (dict(metainfo=dict(classes=('car', 'boat'))), 'not a subset of classes'),
    (dict(pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]),
     'no files to load, but its pipeline has LoadImageFromFile and LoadAnnotations: drop'),
])
def test_a_wrong_argument_is_refused_when_the_data_set_is_built(wrong, message):
    with pytest.raises(ValueError, match=message):
        ScenesDataset(**wrong)


def test_draw_scene_refuses_a_negative_index():
    with pytest.raises(ValueError, match='index must be an integer from 0'):
        draw_scene(0, -1)
