import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets.sunrgbd_dataset import SUNRGBDDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
# Every value a file may hold: background 0, the classes 1..37, and 255 in two more pixels.
VALUES = np.array([*range(38), 255, 255], dtype=np.uint8).reshape(5, 8)


def make_files(root, img, seg):
    for path, array in ((root / img, np.zeros((5, 8, 3), np.uint8)), (root / seg, VALUES)):
        path.parent.mkdir(parents=True)
        Image.fromarray(array).save(path)


@pytest.mark.parametrize('img, seg', [
    ('image/test/img-000001.jpg', 'label37/test/img37labels-000001.png'),
    ('images/test/000001.jpg', 'labels/test/000001.png'),
])
def test_both_layouts_are_read_and_background_is_ignored(tmp_path, img, seg):
    make_files(tmp_path, img, seg)
    dataset = DATASETS.build(
        dict(type='SUNRGBDDataset', data_root=str(tmp_path), split='test', pipeline=LOAD))
    assert len(dataset) == 1
    label = dataset[0]['gt_seg_map'].ravel().tolist()
    assert label == [255] + list(range(37)) + [255, 255]


def test_class_subset_is_taken_after_background_is_removed(tmp_path):
    make_files(tmp_path, 'images/train/1.jpg', 'labels/train/1.png')
    dataset = SUNRGBDDataset(
        data_root=str(tmp_path), pipeline=LOAD, metainfo=dict(classes=('bag', 'wall')))
    label = dataset[0]['gt_seg_map'].ravel()
    # 'wall' is 1 in the file and class 1 here, 'bag' is 37 in the file and class 0 here.
    assert np.flatnonzero(label == 1).tolist() == [1]
    assert np.flatnonzero(label == 0).tolist() == [37]
    assert np.count_nonzero(label == 255) == 38


def test_value_above_the_last_class_is_refused(tmp_path):
    make_files(tmp_path, 'images/train/1.jpg', 'labels/train/1.png')
    Image.fromarray(VALUES + 1).save(tmp_path / 'labels/train/1.png')
    with pytest.raises(ValueError, match='value 37 in 1 pixels'):
        SUNRGBDDataset(data_root=str(tmp_path), pipeline=LOAD)[0]


def test_there_are_37_classes_with_colours_of_their_own():
    classes = SUNRGBDDataset.METAINFO['classes']
    palette = SUNRGBDDataset.METAINFO['palette']
    assert len(set(classes)) == len(classes) == len(palette) == 37
    assert len({tuple(c) for c in palette}) == 37
    assert palette[:3] == [[128, 0, 0], [0, 128, 0], [128, 128, 0]]


def test_missing_folder_says_how_to_get_sun_rgbd(tmp_path):
    with pytest.raises(FileNotFoundError, match='github.com/chrischoy/SUN_RGBD.*convert_sunrgbd'):
        SUNRGBDDataset(data_root=str(tmp_path))
