import os
import os.path as osp

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets.label_me_facade_dataset import LabelMeFacadeDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
# Every value that a file may hold: the 8 classes, then 'various'.
VALUES = np.array([*range(8), 255], dtype=np.uint8).reshape(3, 3)


@pytest.fixture
def facade(tmp_path):
    for split in ('train', 'test'):
        for path, array in ((f'images/{split}/a.21op9.jpg', np.zeros((3, 3, 3), np.uint8)),
                            (f'labels/{split}/a.21op9.png', VALUES)):
            (tmp_path / path).parent.mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / path)
    return str(tmp_path)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_images_and_labels_are_found_from_the_split_and_255_stays_ignored(facade, split):
    dataset = DATASETS.build(
        dict(type='LabelMeFacadeDataset', data_root=facade, split=split, pipeline=LOAD))
    assert len(dataset) == 1
    assert osp.basename(osp.dirname(dataset[0]['seg_map_path'])) == split
    assert dataset[0]['img'].shape == (3, 3, 3)
    assert (dataset[0]['gt_seg_map'] == VALUES).all()


def test_a_value_above_the_last_class_is_refused(facade):
    Image.fromarray(np.full((3, 3), 8, np.uint8)).save(facade + '/labels/train/a.21op9.png')
    with pytest.raises(ValueError, match='value 8 in 9 pixels'):
        LabelMeFacadeDataset(data_root=facade, pipeline=LOAD)[0]


def test_the_pictures_of_colours_of_the_original_are_refused(facade):
    Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(facade + '/labels/train/a.21op9.png')
    with pytest.raises(ValueError, match='a picture of colours must be converted first'):
        LabelMeFacadeDataset(data_root=facade, pipeline=LOAD)[0]


def test_missing_folder_says_how_to_get_labelmefacade(tmp_path):
    with pytest.raises(
            FileNotFoundError,
            match='git clone https://github.com/cvjena/labelmefacade, .*convert_labelmefacade.py'):
        LabelMeFacadeDataset(data_root=str(tmp_path))


def test_the_splits_of_the_real_data_are_complete():
    root = os.environ.get('MMSEG_EXT_DATA')
    if not root:
        pytest.skip('MMSEG_EXT_DATA is not set')
    for split, images in (('train', 100), ('val', 212)):
        dataset = LabelMeFacadeDataset(
            data_root=osp.join(root, 'labelme_facade'), split=split, pipeline=LOAD[1:])
        assert len(dataset) == images
        values = {int(v) for i in range(images) for v in np.unique(dataset[i]['gt_seg_map'])}
        assert values == {*range(8), 255}
