import os
import os.path as osp
from pathlib import Path

import numpy as np
import pytest
from mmengine import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets.fasseg_dataset import FASSEGDataset

CONFIGS = Path(__file__).parents[2] / 'configs/_base_/datasets'
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
VALUES = np.arange(6, dtype=np.uint8).reshape(2, 3)  # every value that a file may hold


@pytest.fixture
def fasseg(tmp_path):
    for split in ('train', 'val'):
        for path, array in ((f'images/{split}/1.jpg', np.zeros((2, 3, 3), np.uint8)),
                            (f'labels/{split}/1.png', VALUES)):
            (tmp_path / path).parent.mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / path)
    return str(tmp_path)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_images_and_labels_are_found_from_the_split_and_background_is_a_class(fasseg, split):
    dataset = DATASETS.build(
        dict(type='FASSEGDataset', data_root=fasseg, split=split, pipeline=LOAD))
    assert len(dataset) == 1
    assert f'labels/{split}/1.png' in dataset[0]['seg_map_path']
    assert dataset[0]['img'].shape == (2, 3, 3)
    assert (dataset[0]['gt_seg_map'] == VALUES).all()


def test_a_value_above_the_last_class_is_refused(fasseg):
    Image.fromarray(np.full((2, 3), 6, np.uint8)).save(fasseg + '/labels/train/1.png')
    with pytest.raises(ValueError, match='value 6 in 6 pixels'):
        FASSEGDataset(data_root=fasseg, pipeline=LOAD)[0]


def test_missing_folder_says_how_to_get_fasseg(tmp_path):
    with pytest.raises(FileNotFoundError, match='V2 of .*massimomauro/FASSEG-repository.*colours'):
        FASSEGDataset(data_root=str(tmp_path))


@pytest.fixture
def real():
    root = os.environ.get('MMSEG_EXT_DATA')
    if not root:
        pytest.skip('MMSEG_EXT_DATA is not set')
    return osp.join(root, 'fasseg')


def test_the_splits_of_the_real_data_are_complete(real):
    for split, images in (('train', 20), ('val', 25)):
        dataset = FASSEGDataset(data_root=real, split=split, pipeline=LOAD)
        assert len(dataset) == images
        for item in dataset:
            assert item['img'].shape[:2] == item['gt_seg_map'].shape
            assert set(np.unique(item['gt_seg_map'])) == {*range(6)}


def test_the_names_of_the_classes_are_those_of_the_real_labels(real):
    """Eyes lie above the nose, the nose above the mouth; skin is brighter than hair."""
    index = FASSEGDataset.METAINFO['classes'].index
    for item in FASSEGDataset(data_root=real, split='val', pipeline=LOAD):
        label, image = item['gt_seg_map'], item['img']
        eyes, nose, mouth = (
            np.nonzero(label == index(name))[0].mean() for name in ('eyes', 'nose', 'mouth'))
        assert eyes < nose < mouth
        assert image[label == index('skin')].mean() > image[label == index('hair')].mean()


@pytest.mark.parametrize('name, size', [('fasseg_321x321', 321), ('fasseg_256x256', 256)])
def test_the_configs_give_crops_in_training_and_whole_faces_at_test(real, name, size):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    train, val = (DATASETS.build(cfg[f'{key}_dataloader'].dataset) for key in ('train', 'val'))
    assert (len(train), len(val)) == (20, 25)
    np.random.seed(0)
    sizes = []
    for item in train:
        sizes.append(tuple(item['inputs'].shape[1:]))
        assert item['data_samples'].gt_sem_seg.shape == sizes[-1]
    # a face scaled to half its size is smaller than the crop
    assert max(sizes) == (size, size) and len(set(sizes)) > 3
    assert cfg.crop_size == (size, size)
    item = val[0]
    assert max(item['inputs'].shape) == 384
    assert item['data_samples'].gt_sem_seg.shape == tuple(item['data_samples'].ori_shape)
