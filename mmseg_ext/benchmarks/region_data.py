"""Benchmark cases of regions on their way from an image or a file to a head."""
import tempfile
from pathlib import Path
from typing import Dict, Tuple

import numpy as np
from mmseg.registry import DATASETS, TRANSFORMS
from skimage.measure import label as components_of

import mmseg_ext.datasets.transforms  # noqa: F401  (registers what is measured)
from mmseg_ext.datasets.regions.files import write_regions
from mmseg_ext.ops import hierarchical_regions

from .case import Case, benchmark, sizes


@benchmark('GenerateRegions', 'LoadRegions')
def regions_into_a_pipeline(device: str, small: bool = False) -> Case:
    """Reading an image's regions from its file, against finding them anew."""
    size = (48, 64) if small else (256, 256)
    scene = _scene(size)
    tree = hierarchical_regions(np.ascontiguousarray(scene['img'][..., ::-1]), min_size=100)
    folder = tempfile.TemporaryDirectory()
    load = TRANSFORMS.build(dict(type='LoadRegions', regions_dir=folder.name))
    generate = TRANSFORMS.build(dict(type='GenerateRegions'))
    path = load.regions_path(scene['img_path'])
    write_regions(path, dict(rgb=tree), load.settings)
    file_size = Path(path).stat().st_size

    def loaded(folder=folder) -> dict:  # the file lives as long as this function
        return load(_copy(scene))

    def generated() -> dict:
        return generate(_copy(scene))

    def plain_arrays() -> np.ndarray:
        with np.load(path) as file:
            return file['rgb_cells'], file['rgb_indptr'], file['rgb_indices']

    def parity() -> None:
        ours, anew = loaded(), generated()
        assert np.array_equal(ours['region_cells'], anew['region_cells'])
        for one, other in zip(ours['region_index'], anew['region_index']):
            assert np.array_equal(one, other)

    return Case(
        inputs=f'scene of {sizes(size)}, RGB, {tree.num_regions} regions, '
        f'file of {file_size / 1000:.0f} kB',
        phase='one image',
        runs={
            'ours: LoadRegions': loaded,
            'ours: GenerateRegions': generated,
            'numpy: np.load alone': plain_arrays,
        },
        parity=parity)


@benchmark('PackRegionInputs')
def packing_for_training(device: str, small: bool = False) -> Case:
    """Adding the ground truth, splitting cells and packing, against splitting pixel by pixel.

    The latter makes no index of regions and drops none; mmseg's packing has no regions at all.
    """
    size = (48, 64) if small else (600, 600)
    results = TRANSFORMS.build(dict(type='GenerateRegions'))(_scene(size))
    pack = TRANSFORMS.build(dict(type='PackRegionInputs', gt_regions=True, min_gt_iou=0.1))
    plain = TRANSFORMS.build(dict(type='PackSegInputs'))

    def ours() -> dict:
        return pack(_copy(results))

    def pixel_by_pixel() -> Tuple[dict, np.ndarray, np.ndarray]:
        components = components_of(results['gt_seg_map'], background=255, connectivity=2)
        pairs = results['region_cells'].astype(np.int64) * (components.max() + 1) + components
        cells = np.unique(pairs, return_inverse=True)[1].reshape(pairs.shape)
        return plain(_copy(results)), cells, components

    def without_regions() -> dict:
        return plain(_copy(results))

    def parity() -> None:
        packed, (expected, cells, components) = ours(), pixel_by_pixel()
        assert packed['inputs'].equal(expected['inputs'])
        found = packed['data_samples'].regions.arrays()
        pairs = np.unique(np.stack([found.cells.ravel(), cells.ravel()]), axis=1)
        assert pairs.shape[1] == found.num_cells == cells.max() + 1
        areas = found.areas()[-components.max():]
        assert np.array_equal(areas, np.bincount(components.ravel())[1:])

    num_regions = ours()['data_samples'].regions.num_regions
    return Case(
        inputs=f'scene of {sizes(size)}, {num_regions} regions with those of the ground truth',
        phase='one image',
        runs={
            'ours': ours,
            'scikit-image and np.unique of all pixels': pixel_by_pixel,
            'mmseg: PackSegInputs, no regions': without_regions,
        },
        parity=parity)


def _scene(size: Tuple[int, int]) -> dict:
    return DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))[0]


def _copy(results: Dict[str, object]) -> dict:
    """The same arrays in a new dictionary, as transforms write into it."""
    return dict(results, seg_fields=list(results['seg_fields']))
