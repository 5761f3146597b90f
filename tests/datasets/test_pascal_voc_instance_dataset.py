import os
import os.path as osp
from pathlib import Path

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ext.datasets import CamVidDataset, PascalVOCInstanceDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
        dict(type='LoadInstanceAnnotations')]
LABELS = np.array([[0, 3, 255, 15], [20, 20, 0, 15]], dtype=np.uint8)
INSTANCES = np.array([[0, 2, 255, 1], [4, 4, 0, 1]], dtype=np.uint8)
NAMES = dict(train='2007_000032', val='2007_000033')


@pytest.fixture
def voc(tmp_path):
    for folder in ('JPEGImages', 'SegmentationClass', 'SegmentationObject',
                   'ImageSets/Segmentation'):
        (tmp_path / folder).mkdir(parents=True)
    for split, name in NAMES.items():
        (tmp_path / f'ImageSets/Segmentation/{split}.txt').write_text(f'{name}\n')
        Image.new('RGB', (4, 2)).save(tmp_path / f'JPEGImages/{name}.jpg')
        for folder, values in (('Class', LABELS), ('Object', INSTANCES)):
            picture = Image.fromarray(values)
            picture.putpalette([7 * n % 256 for n in range(768)])  # as in VOC, numbers are colours
            picture.save(tmp_path / f'Segmentation{folder}/{name}.png')
    Image.new('RGB', (4, 2)).save(tmp_path / 'JPEGImages/2007_000001.jpg')  # has no labels
    return tmp_path


@pytest.mark.parametrize('split', ['train', 'val'])
def test_the_images_of_a_list_have_their_labels_and_instances(voc, split):
    dataset = DATASETS.build(dict(
        type='PascalVOCInstanceDataset', data_root=str(voc), split=split, pipeline=LOAD))
    assert len(dataset) == 1
    item = dataset[0]
    assert item['img_path'].endswith(f'JPEGImages/{NAMES[split]}.jpg')
    assert item['instance_map_path'].endswith(f'SegmentationObject/{NAMES[split]}.png')
    assert item['gt_seg_map'].tolist() == LABELS.tolist()
    assert item['gt_instance_map'].tolist() == INSTANCES.tolist()
    assert item['seg_fields'] == ['gt_seg_map', 'gt_instance_map']


def test_other_lists_and_folders_can_be_named(voc):
    (voc / 'ImageSets/both.txt').write_text(''.join(f'{name}\n' for name in NAMES.values()))
    (voc / 'SegmentationObject').rename(voc / 'objects')
    dataset = PascalVOCInstanceDataset(
        data_root=str(voc), ann_file='ImageSets/both.txt', pipeline=LOAD, data_prefix=dict(
            img_path='JPEGImages/', seg_map_path='SegmentationClass', instance_map_path='objects/'))
    assert [item['gt_instance_map'].tolist() for item in dataset] == [INSTANCES.tolist()] * 2


def test_classes_and_colours_are_those_of_mmseg():
    meta = PascalVOCInstanceDataset.METAINFO
    assert meta['classes'] == PascalVOCDataset.METAINFO['classes'] and len(meta['classes']) == 21
    assert meta['palette'] == PascalVOCDataset.METAINFO['palette']


def test_a_pipeline_that_loads_no_instances_needs_none(voc):
    for path in (voc / 'SegmentationObject').iterdir():
        path.unlink()
    (voc / 'SegmentationObject').rmdir()
    dataset = PascalVOCInstanceDataset(data_root=str(voc), pipeline=LOAD[:2])
    assert dataset[0]['gt_seg_map'].tolist() == LABELS.tolist()
    with pytest.raises(FileNotFoundError, match="instance maps '.*SegmentationObject' does not"):
        PascalVOCInstanceDataset(data_root=str(voc), pipeline=LOAD)


def test_a_missing_file_or_folder_is_named_with_how_to_get_it(voc):
    (voc / f'SegmentationObject/{NAMES["train"]}.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"32.jpg' has no instance map '.*Object/2007_000032"
                                                r'.*\(1 of 1 are missing\).*convert_sbd.py'):
        PascalVOCInstanceDataset(data_root=str(voc), pipeline=LOAD)
    with pytest.raises(FileNotFoundError, match='names no folder of instance maps'):
        PascalVOCInstanceDataset(data_root=str(voc), pipeline=LOAD, data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'))
    with pytest.raises(FileNotFoundError, match="Segmentation/test.txt' does not exist"):
        PascalVOCInstanceDataset(data_root=str(voc), split='test')
    with pytest.raises(FileNotFoundError, match='benchmark.tgz .*python tools/convert_sbd.py benc'):
        PascalVOCInstanceDataset(data_root=str(voc / 'nowhere'))


@pytest.mark.parametrize('content', [b'', b'text'])
def test_a_damaged_file_is_named(voc, content):
    (voc / f'SegmentationObject/{NAMES["train"]}.png').write_bytes(content)
    dataset = PascalVOCInstanceDataset(data_root=str(voc), pipeline=LOAD)
    with pytest.raises(ValueError, match='Object/2007_000032.png. cannot be decoded as an image'):
        dataset[0]


def test_a_data_set_without_instances_is_told_so(tmp_path):
    for folder, values in (('train', np.zeros((2, 4, 3), np.uint8)), ('trainannot', LABELS * 0)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / '0.png')
    dataset = CamVidDataset(data_root=str(tmp_path), pipeline=LOAD)
    with pytest.raises(KeyError, match='names no instance map of .*0.png.*PascalVOCInstance'):
        dataset[0]


@pytest.fixture
def real():
    root = os.environ.get('MMSEG_EXT_DATA')
    if not root or not osp.isdir(osp.join(root, 'voc_style_instances')):
        pytest.skip('MMSEG_EXT_DATA has no folder voc_style_instances')
    return osp.join(root, 'voc_style_instances')


def test_real_images_have_instances_of_one_class_each(real):
    sizes = {split: len(PascalVOCInstanceDataset(data_root=real, split=split, pipeline=LOAD))
             for split in ('train', 'val')}
    assert sizes == {s: len(Path(real, f'ImageSets/Segmentation/{s}.txt').read_text().split())
                     for s in sizes}
    dataset = PascalVOCInstanceDataset(data_root=real, split='val', pipeline=LOAD, indices=8)
    for item in dataset:
        labels, instances = item['gt_seg_map'], item['gt_instance_map']
        assert item['img'].shape[:2] == labels.shape == instances.shape
        objects = (instances > 0) & (instances != 255)
        pairs = np.unique(np.stack([instances[objects], labels[objects]]), axis=1)
        assert 0 < pairs.shape[1] == len(np.unique(instances[objects])) and pairs[1].min() > 0
