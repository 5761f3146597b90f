import os.path as osp
from typing import Optional

import mmengine.fileio as fileio
from mmseg.registry import TRANSFORMS

from mmseg_ext.ops import RegionSet
from mmseg_ext.tools import tool_command

from ..regions.files import BrokenRegionFile, describe, read_regions
from .region_source import RegionSource

COMMAND = tool_command('generate_regions.py', 'CONFIG')


@TRANSFORMS.register_module()
class LoadRegions(RegionSource):
    """Load the regions that ``python tools/generate_regions.py CONFIG`` has found for the image.

    The settings are written here only: the tool reads them from the config, and a file that was
    made with other settings is refused. Every file holds all three colour spaces, so
    ``colour_space`` and ``overlapping`` can be changed without making the files again. The
    transform comes before all that resize, flip, crop or rotate. ``GenerateRegions`` finds the same
    regions, each time anew; its docstring has the source and says how transforms move regions.

    Required Keys:

    - img (np.ndarray): (H, W, 3), as loaded
    - img_path (str)

    Added Keys:

    - region_cells, region_index, region_scale_factor, as ``GenerateRegions`` adds them

    Modified Keys:

    - seg_fields: with 'region_cells'

    Args:
        regions_dir (str): Folder of the files; not joined to the ``data_root`` of the data set.
        img_dir (str, optional): Folder of the images, likewise. The file of
            ``{img_dir}/sub/name.jpg`` is ``{regions_dir}/sub/name.npz``. Defaults to None: it is
            ``{regions_dir}/name.npz`` wherever the image lies.
        colour_space (str): As in ``GenerateRegions``. Defaults to ``'rgb'``.
        scale (float): As in ``GenerateRegions``. Defaults to 100.
        sigma (float): As in ``GenerateRegions``. Defaults to 0.8.
        min_size (int): As in ``GenerateRegions``. Defaults to 100.
        overlapping (bool): As in ``GenerateRegions``. Defaults to True.
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
                             'of the image, but the regions belong to the image as loaded: put it '
                             'right behind LoadImageFromFile.')
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
