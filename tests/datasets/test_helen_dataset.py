from pathlib import Path

import numpy as np
import pytest
from mmengine import Config
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmseg_ext.datasets.helen_dataset import HELENDataset

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/helen_321x321.py'
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
CLASSES = HELENDataset.METAINFO['classes']
VALUES = np.arange(22, dtype=np.uint8).reshape(2, 11) % 11  # every value a file may hold
FOLDERS = dict(train=['train'], test=['test/testing', 'test/tuning'])
MIRRORED = dict(left_brow='right_brow', right_brow='left_brow', left_eye='right_eye',
                right_eye='left_eye')


@pytest.fixture
def helen(tmp_path):
    for folder in sum(FOLDERS.values(), []):
        for path, array in ((f'images/{folder}/232194_1.jpg', np.zeros((2, 11, 3), np.uint8)),
                            (f'labels/{folder}/232194_1.png', VALUES)):
            (tmp_path / path).parent.mkdir(parents=True)
            Image.fromarray(array).save(tmp_path / path)
    return str(tmp_path)


@pytest.mark.parametrize('split, folders', [
    *FOLDERS.items(), ('test/tuning', ['test/tuning']), ('test/testing', ['test/testing'])])
def test_the_test_of_the_paper_is_both_lists_and_each_can_be_had_alone(helen, split, folders):
    dataset = DATASETS.build(dict(type='HELENDataset', data_root=helen, split=split, pipeline=LOAD))
    paths = [str(Path(item['seg_map_path']).relative_to(helen)) for item in dataset]
    assert paths == [f'labels/{folder}/232194_1.png' for folder in folders]
    assert all((item['gt_seg_map'] == VALUES).all() for item in dataset)


def test_a_value_above_the_last_class_is_refused(helen):
    Image.fromarray(VALUES + np.uint8(1)).save(helen + '/labels/train/232194_1.png')
    with pytest.raises(ValueError, match='value 11 in 2 pixels'):
        HELENDataset(data_root=helen, pipeline=LOAD)[0]


def test_missing_folder_says_how_to_get_helen(tmp_path):
    with pytest.raises(FileNotFoundError,
                       match='SmithCVPR2013_dataset_resized.zip .*tools/convert_helen.py FOLDER'):
        HELENDataset(data_root=str(tmp_path))


def test_there_are_11_classes_with_colours_that_are_far_apart():
    palette = np.array(HELENDataset.METAINFO['palette'])
    assert len(set(CLASSES)) == 11
    distances = np.abs(palette[:, None] - palette).sum(axis=2)
    assert distances[~np.eye(11, dtype=bool)].min() >= 100


@pytest.mark.parametrize('flip', [True, False])
def test_a_face_that_is_flipped_in_training_has_its_left_and_right_swapped(helen, flip):
    pipeline = Config.fromfile(CONFIG).train_dataloader.dataset.pipeline
    (config, ) = [t for t in pipeline if t.type == 'RandomFlip']
    config.prob = 1. if flip else 0.
    item = HELENDataset(data_root=helen, pipeline=[*LOAD, config])[0]
    names = [CLASSES[label] for label in item['gt_seg_map'][0]]
    assert item['flip'] is flip
    assert names == ([MIRRORED.get(name, name) for name in CLASSES[::-1]] if flip else
                     list(CLASSES))


def test_a_crop_that_holds_part_of_the_classes_is_swapped_too(helen):
    """What is there decides, not what the other class of a pair holds."""
    pipeline = Config.fromfile(CONFIG).train_dataloader.dataset.pipeline
    (config, ) = [t for t in pipeline if t.type == 'RandomFlip']
    config.prob = 1.
    label = np.array([[2, 2, 4, 255, 10]], dtype=np.uint8)
    results = TRANSFORMS.build(config)(
        dict(img=np.zeros((1, 5, 3), np.uint8), gt_seg_map=label, seg_fields=['gt_seg_map']))
    assert results['gt_seg_map'].tolist() == [[10, 255, 5, 3, 3]]


def test_the_config_has_the_papers_settings_and_tests_at_the_size_of_the_label_map(helen):
    cfg = Config.fromfile(CONFIG)
    assert cfg.train_dataloader.batch_size == 6
    transforms = {t.type: t for t in cfg.train_dataloader.dataset.pipeline}
    assert transforms['RandomCrop'].crop_size == (321, 321)
    assert transforms['RandomResize'].ratio_range == (0.5, 2.0)
    test = cfg.test_dataloader.dataset
    test.data_root = helen
    dataset = DATASETS.build(test)
    assert len(dataset) == 2
    item = dataset[0]
    assert max(item['inputs'].shape) == 512
    assert item['data_samples'].gt_sem_seg.shape == (2, 11)


def test_the_groups_of_the_config_are_the_parts_that_their_names_say():
    (metric, ) = [m for m in Config.fromfile(CONFIG).test_evaluator if m.type == 'F1Metric']
    names = {group: {CLASSES[i] for i in labels} for group, labels in metric.groups.items()}
    overall = names.pop('overall')
    assert names == dict(
        brows={'left_brow', 'right_brow'}, eyes={'left_eye', 'right_eye'}, nose={'nose'},
        mouth={'upper_lip', 'inner_mouth', 'lower_lip'})
    assert overall == set().union(*names.values())
