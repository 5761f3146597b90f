import numpy as np
from mmseg.registry import TRANSFORMS

from mmseg_ext.ops import RegionSet, hierarchical_regions

from .region_source import RegionSource


@TRANSFORMS.register_module()
class GenerateRegions(RegionSource):
    """Find regions of the image by Selective Search, each time anew.

    For data sets that are drawn, and to try settings out: it takes about 0.1 s for 256 x 256
    pixels. For files, ``LoadRegions`` reads what ``tools/generate_regions.py`` has found once. The
    method is :func:`mmseg_ext.ops.hierarchical_regions`, with the settings of `Region-based
    semantic segmentation with end-to-end training <https://arxiv.org/abs/1607.07671>`_, section
    4.1.

    The regions travel as a map of cells, which mmseg's ``Resize``, ``RandomFlip``, ``RandomCrop``
    and ``RandomRotate`` move like a label map, and an index that stays as it is. 255 means no cell,
    as these transforms fill label maps with 255. ``RandomResize`` and ``RandomChoiceResize`` need
    ``resize_type='mmseg.Resize'``, else they move ``gt_seg_map`` alone. Transforms that mix
    several images (``RandomMosaic``) are not possible, as the index belongs to one image, nor is
    ``Albu``, which moves ``gt_seg_map`` alone. ``Pad`` comes after all that move (a rotation of the
    padded image has another centre), and ``PackRegionInputs`` ends the pipeline.

    Required Keys:

    - img (np.ndarray): (H, W, 3) uint8, BGR

    Added Keys:

    - region_cells (np.ndarray): (H, W) int32, the cell of each pixel; 255 for no cell
    - region_index (tuple[np.ndarray]): indptr (R + 1,) and indices (nnz,), int64: region r consists
      of the cells ``indices[indptr[r]:indptr[r + 1]]``
    - region_scale_factor: what ``scale_factor`` was at this time

    Modified Keys:

    - seg_fields: with 'region_cells'

    Args:
        colour_space (str): ``'rgb'``, ``'hsv'`` or ``'lab'``; or, for training, ``'random'``: one
            of the three for each image, from NumPy's global generator. (In the paper each
            mini-batch has one; a transform sees a single image.) Defaults to ``'rgb'``, which the
            paper tests with.
        scale (float): k of the superpixels; the higher, the larger they are. 100 for SIFT Flow, 400
            for PASCAL Context. Defaults to 100.
        sigma (float): Smoothing before the superpixels are found, pixels. Defaults to 0.8.
        min_size (int): Regions with fewer pixels are left out, except for the whole image. 100 for
            SIFT Flow, 400 for PASCAL Context. Defaults to 100.
        overlapping (bool): False: every superpixel is a region and there are no others (the
            non-overlapping regions of section 4.3). Defaults to True.

    Raises:
        ValueError: If an argument is out of its range, or the image is not (H, W, 3) uint8.
    """

    def find_regions(self, results: dict, colour_space: str) -> RegionSet:
        """Find the regions of ``results['img']``."""
        rgb = np.ascontiguousarray(results['img'][..., ::-1])
        return hierarchical_regions(rgb, colour_space, **self.settings)
