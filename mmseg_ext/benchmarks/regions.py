"""Benchmark cases of the region method."""
import numpy as np
from mmseg.registry import DATASETS

from mmseg_ext.ops import hierarchical_regions

from .case import Case, benchmark, sizes


@benchmark('hierarchical_regions')
def regions_of_an_image(device: str, small: bool = False) -> Case:
    """Proposals of a scene, against our reference and against their superpixels alone.

    The superpixels are scikit-image's and part of both runs of ours, which are on the CPU.
    """
    from skimage.segmentation import felzenszwalb
    size = (48, 64) if small else (256, 256)
    scene = DATASETS.build(dict(type='ScenesDataset', num_images=1, size=size))[0]
    image = np.ascontiguousarray(scene['img'][..., ::-1])

    def ours():
        return hierarchical_regions(image)

    def reference():
        return hierarchical_regions(image, implementation='reference')

    def superpixels() -> np.ndarray:
        return felzenszwalb(image, scale=100, sigma=0.8, min_size=100)

    def parity() -> None:
        for found, expected in zip(ours(), reference()):
            assert np.array_equal(found, expected)
        assert np.array_equal(ours().cells, superpixels())

    return Case(
        inputs=f'scene of {sizes(size)}, RGB, {len(ours().indptr) - 1} regions',
        phase='one image',
        runs={
            'ours': ours,
            'ours: reference': reference,
            'scikit-image: superpixels alone': superpixels,
        },
        parity=parity)
