import os.path as osp
from typing import Optional

import mmengine.fileio as fileio
from mmseg.registry import TRANSFORMS

from mmseg_ext.ops import RegionSet

from ..regions.files import BrokenRegionFile, describe, read_regions
from .region_source import RegionSource

COMMAND = 'python tools/generate_regions.py CONFIG'


@TRANSFORMS.register_module()
class LoadRegions(RegionSource):
    """Load the regions that ``python tools/generate_regions.py CONFIG`` has found for the image.

    The settings are written here only: the tool reads them from the config, and a file that was
    made with others is refused. Every file holds all three colour spaces, so ``colour_space`` and
    ``overlapping`` can be changed without making the files again. The transform stands before all
    that resize, flip, crop or rotate; how regions pass through these is said in
    ``GenerateRegions``, which finds the same regions, each time anew.

    The method is `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_, section 4.1.

    Required Keys:

    - img (np.ndarray): (H, W, 3), as loaded
    - img_path (str)

    Added Keys:

    - region_cells (np.ndarray): (H, W) int32, the cell of each pixel; 255 is none
    - region_index (tuple[np.ndarray]): indptr (R + 1,) and indices (nnz,), int64: region r consists
      of the cells ``indices[indptr[r]:indptr[r + 1]]``
    - region_scale_factor: what ``scale_factor`` was at this time

    Modified Keys:

    - seg_fields: with 'region_cells'

    Args:
        regions_dir (str): Folder of the files; not joined to the ``data_root`` of the data set.
        img_dir (str, optional): Folder of the images, likewise. The file of
            ``{img_dir}/sub/name.jpg`` is ``{regions_dir}/sub/name.npz``. Defaults to None: it is
            ``{regions_dir}/name.npz`` wherever the image lies.
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
        backend_args (dict, optional): Arguments of mmengine's file backend. Defaults to None.

    Raises:
        ValueError: If an argument is out of its range; for an image, if its file is broken, was
            made with other settings or for another size, or if the image was moved already.
        FileNotFoundError: If the image has no file.
    """

    def __init__(self,
                 regions_dir: str,
                 img_dir: Optional[str] = None,
                 colour_space: str = 'rgb',
                 scale: float = 100.,
                 sigma: float = 0.8,
                 min_size: int = 100,
                 overlapping: bool = True,
                 backend_args: Optional[dict] = None) -> None:
        super().__init__(colour_space, scale, sigma, min_size, overlapping)
        self.regions_dir = regions_dir
        self.img_dir = img_dir
        self.backend_args = backend_args

    def regions_path(self, img_path: str) -> str:
        """Give the path of the file with the regions of an image.

        Args:
            img_path (str): Path of the image.

        Returns:
            str: Path of the file.

        Raises:
            ValueError: If the image does not lie below ``img_dir``.
        """
        relative = osp.basename(img_path)
        if self.img_dir is not None:
            relative = osp.relpath(img_path, self.img_dir)
            if relative.startswith(osp.pardir):
                raise ValueError(f"LoadRegions: the image '{img_path}' does not lie below img_dir="
                                 f"'{self.img_dir}'; img_dir is not joined to data_root, write it "
                                 'out.')
        return osp.join(self.regions_dir, osp.splitext(relative)[0] + '.npz')

    def find_regions(self, results: dict, colour_space: str) -> RegionSet:
        """Read the regions of ``results['img_path']``."""
        size = results['img'].shape[:2]
        if 'flip' in results or size != tuple(results.get('ori_shape', size))[:2]:
            raise ValueError('LoadRegions comes after a transform that flips or changes the size '
                             'of the image, but the regions are those of the image as loaded: put '
                             'it right behind LoadImageFromFile.')
        path = self.regions_path(results['img_path'])
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"LoadRegions: the image '{results['img_path']}' has no file of regions '{path}'; "
                f'make the files by: {COMMAND}') from None
        try:
            regions, settings = read_regions(data, colour_space)
        except BrokenRegionFile as error:
            raise ValueError(f"LoadRegions: '{path}' is no complete file of regions ({error}); "
                             f'make it anew by: {COMMAND}') from error
        if settings != self.settings:
            raise ValueError(f"LoadRegions: '{path}' was made with {describe(settings)}, but the "
                             f'config asks for {describe(self.settings)}; change the config, or '
                             f'make the files anew by: {COMMAND}')
        if regions.cells.shape != size:
            height, width = regions.cells.shape
            raise ValueError(f"LoadRegions: '{path}' is for an image of {height}x{width} pixels, "
                             f"but '{results['img_path']}' has {size[0]}x{size[1]}; make it anew "
                             f'by: {COMMAND}')
        return regions
