"""Benchmark cases of the data sets: one item, through the transforms that load it."""
import tempfile
from pathlib import Path
from typing import Callable, Tuple

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_ext.datasets import (
    CamVidDataset,
    FASSEGDataset,
    HELENDataset,
    LabelMeFacadeDataset,
    SIFTFlowDataset,
    SUNRGBDDataset,
)

from .case import Case, benchmark

LOADING = (dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'))


@benchmark('CamVidDataset')
def camvid_item(device: str, small: bool = False) -> Case:
    """Loading an image and its label map with the check of the values, against mmseg without."""
    num_values = len(CamVidDataset.METAINFO['classes']) + 1  # the last is void
    return _loading_case('CamVidDataset', 'train', 'trainannot', num_values, small,
                         label_map=CamVidDataset.get_label_map())


@benchmark('SUNRGBDDataset')
def sunrgbd_item(device: str, small: bool = False) -> Case:
    """Loading an image and its label map with the check of the values, against mmseg without."""
    num_values = len(SUNRGBDDataset.METAINFO['classes']) + 1  # the first is background
    return _loading_case('SUNRGBDDataset', 'images/train', 'labels/train', num_values, small,
                         reduce_zero_label=True)


@benchmark('SIFTFlowDataset')
def siftflow_item(device: str, small: bool = False) -> Case:
    """Loading an image and its label map with the check of the values, against mmseg without."""
    num_values = len(SIFTFlowDataset.METAINFO['classes'])
    return _loading_case('SIFTFlowDataset', 'images/train', 'labels/train', num_values, small,
                         size=(256, 256))


@benchmark('LabelMeFacadeDataset')
def labelme_facade_item(device: str, small: bool = False) -> Case:
    """Loading an image and its label map with the check of the values, against mmseg without."""
    num_values = len(LabelMeFacadeDataset.METAINFO['classes'])
    return _loading_case('LabelMeFacadeDataset', 'images/train', 'labels/train', num_values, small,
                         size=(288, 384))


@benchmark('HELENDataset')
def helen_item(device: str, small: bool = False) -> Case:
    """Loading an image and its label map with the check of the values, against mmseg without."""
    num_values = len(HELENDataset.METAINFO['classes'])
    return _loading_case('HELENDataset', 'images/train', 'labels/train', num_values, small,
                         size=(512, 384))


@benchmark('FASSEGDataset')
def fasseg_item(device: str, small: bool = False) -> Case:
    """Loading an image and its label map with the check of the values, against mmseg without."""
    num_values = len(FASSEGDataset.METAINFO['classes'])
    return _loading_case('FASSEGDataset', 'images/train', 'labels/train', num_values, small,
                         size=(384, 280))


@benchmark('ScenesDataset')
def scenes_item(device: str, small: bool = False) -> Case:
    """Drawing a scene, against loading the same scene from files."""
    size = (32, 48) if small else (256, 256)
    dataset = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))
    scene = dataset[0]
    folder = _write(scene['img'], scene['gt_seg_map'], 'images', 'labels')
    files = BaseSegDataset(
        data_root=folder.name, data_prefix=dict(img_path='images', seg_map_path='labels'),
        img_suffix='.png', metainfo=dataset.metainfo, pipeline=list(LOADING))
    return _case(f'scene of {size[0]}x{size[1]}', lambda: dataset[0], _reader(files, folder))


def _loading_case(dataset_type: str, images: str, labels: str, num_values: int, small: bool,
                  size: Tuple[int, int] = (360, 480), **kwargs) -> Case:
    height, width = (24, 32) if small else size
    # blocks, so that the files are as small as those of real label maps
    rng = np.random.default_rng(0)
    label = rng.integers(num_values, size=(height // 8, width // 8), dtype=np.uint8)
    label = label.repeat(8, axis=0).repeat(8, axis=1)
    image = np.stack([label * 5] * 3, axis=2) + rng.integers(20, size=(height, width, 3))
    folder = _write(image.astype(np.uint8), label, images, labels)
    ours = DATASETS.build(
        dict(type=dataset_type, data_root=folder.name, img_suffix='.png', pipeline=list(LOADING)))
    mmsegs = BaseSegDataset(
        data_root=folder.name, data_prefix=dict(img_path=images, seg_map_path=labels),
        img_suffix='.png', metainfo=ours.metainfo, lazy_init=True, pipeline=list(LOADING),
        reduce_zero_label=kwargs.get('reduce_zero_label', False))
    mmsegs.label_map = kwargs.get('label_map')
    mmsegs.full_init()
    return _case(f'PNG files of {height}x{width}', lambda: ours[0], _reader(mmsegs, folder))


def _case(inputs: str, ours: Callable[[], dict], mmsegs: Callable[[], dict]) -> Case:

    def parity() -> None:
        for key in ('img', 'gt_seg_map'):
            assert np.array_equal(ours()[key], mmsegs()[key]), key

    return Case(
        inputs=inputs,
        phase='one item',
        runs={'ours': ours, 'mmseg: BaseSegDataset': mmsegs},
        parity=parity)


def _reader(dataset: BaseSegDataset, folder: tempfile.TemporaryDirectory) -> Callable[[], dict]:
    """Read the first item; the files live as long as this function."""

    def read(folder=folder) -> dict:
        return dataset[0]

    return read


def _write(image: np.ndarray, label: np.ndarray, images: str,
           labels: str) -> tempfile.TemporaryDirectory:
    folder = tempfile.TemporaryDirectory()
    for name, picture in ((images, image), (labels, label)):
        path = Path(folder.name, name)
        path.mkdir(parents=True)
        cv2.imwrite(str(path / '0.png'), picture)
    return folder
