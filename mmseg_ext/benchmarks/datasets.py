"""Benchmark cases of the data sets: one item, through the transforms that load it."""
import tempfile
from pathlib import Path
from typing import Callable, Tuple

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

import mmseg_ext.datasets  # noqa: F401  (registers the data sets)

from .case import Case, benchmark

LOADING = (dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'))
FOLDERS = 'images/train', 'labels/train'

# case, type, folders, number of values in the files beside the classes, height and width
FILES = (
    ('camvid_item', 'CamVidDataset', ('train', 'trainannot'), 1, (360, 480)),  # void is the last
    ('sunrgbd_item', 'SUNRGBDDataset', FOLDERS, 1, (360, 480)),  # background is the first
    ('siftflow_item', 'SIFTFlowDataset', FOLDERS, 0, (256, 256)),
    ('labelme_facade_item', 'LabelMeFacadeDataset', FOLDERS, 0, (288, 384)),
    ('helen_item', 'HELENDataset', FOLDERS, 0, (512, 384)),
    ('fasseg_item', 'FASSEGDataset', FOLDERS, 0, (384, 280)),
)


def register_loading_case(name: str, dataset_type: str, folders: Tuple[str, str], more_values: int,
                          size: Tuple[int, int]) -> None:
    """Register the comparison for one data set."""

    @benchmark(dataset_type, name=name)
    def loading_case(device: str, small: bool = False) -> Case:
        """Loading an image and its label map with the check of values, against mmseg without."""
        return _loading_case(dataset_type, folders, more_values, (24, 32) if small else size)


for row in FILES:
    register_loading_case(*row)


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


def _loading_case(dataset_type: str, folders: Tuple[str, str], more_values: int,
                  size: Tuple[int, int]) -> Case:
    height, width = size
    num_values = len(DATASETS.get(dataset_type).METAINFO['classes']) + more_values
    # blocks, so that the files are as small as those of real label maps
    rng = np.random.default_rng(0)
    label = rng.integers(num_values, size=(height // 8, width // 8), dtype=np.uint8)
    label = label.repeat(8, axis=0).repeat(8, axis=1)
    image = np.stack([label * 5] * 3, axis=2) + rng.integers(20, size=(height, width, 3))
    folder = _write(image.astype(np.uint8), label, *folders)
    ours = DATASETS.build(
        dict(type=dataset_type, data_root=folder.name, img_suffix='.png', pipeline=list(LOADING)))
    mmsegs = BaseSegDataset(
        data_root=folder.name, data_prefix=dict(zip(('img_path', 'seg_map_path'), folders)),
        img_suffix='.png', metainfo=ours.metainfo, lazy_init=True, pipeline=list(LOADING),
        reduce_zero_label=ours.reduce_zero_label)
    mmsegs.label_map = ours.label_map
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
