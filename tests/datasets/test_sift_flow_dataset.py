import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets.sift_flow_dataset import SIFTFlowDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
# Every value that a file may hold: the 33 classes, then unlabelled.
VALUES = np.array([*range(33), 255, 255], dtype=np.uint8).reshape(5, 7)


@pytest.fixture
def siftflow(tmp_path):
    for split in ('train', 'test'):
        for path, array in ((f'images/{split}/coast_bea3.jpg', np.zeros((5, 7, 3), np.uint8)),
                            (f'labels/{split}/coast_bea3.png', VALUES)):
            (tmp_path / path).parent.mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / path)
    return str(tmp_path)


@pytest.mark.parametrize('split', ['train', 'test'])
def test_images_and_labels_are_found_from_the_split_and_255_stays_ignored(siftflow, split):
    dataset = DATASETS.build(
        dict(type='SIFTFlowDataset', data_root=siftflow, split=split, pipeline=LOAD))
    assert len(dataset) == 1
    assert f'labels/{split}/coast_bea3.png' in dataset[0]['seg_map_path']
    assert dataset[0]['img'].shape == (5, 7, 3)
    assert (dataset[0]['gt_seg_map'] == VALUES).all()


def test_a_value_above_the_last_class_is_refused(siftflow):
    Image.fromarray(np.full((5, 7), 33, np.uint8)).save(siftflow + '/labels/train/coast_bea3.png')
    with pytest.raises(ValueError, match='value 33 in 35 pixels'):
        SIFTFlowDataset(data_root=siftflow, pipeline=LOAD)[0]


def test_there_are_33_classes_in_the_order_of_the_labels_with_colours_of_their_own():
    classes = SIFTFlowDataset.METAINFO['classes']
    palette = np.array(SIFTFlowDataset.METAINFO['palette'])
    assert len(classes) == 33 and list(classes) == sorted(set(classes))  # alphabetical
    # numbers that other users of the labels state
    assert [classes[i - 1] for i in (1, 9, 11, 16, 28, 33)] == [
        'awning', 'cow', 'desert', 'moon', 'sky', 'window']
    distances = np.abs(palette[:, None] - palette).sum(axis=2)
    assert distances[~np.eye(33, dtype=bool)].min() >= 30


def test_missing_folder_says_how_to_get_sift_flow(tmp_path):
    with pytest.raises(FileNotFoundError, match='SiftFlowDataset.zip in a .*convert_siftflow.py'):
        SIFTFlowDataset(data_root=str(tmp_path))
