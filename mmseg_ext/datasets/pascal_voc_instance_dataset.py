from typing import List, Optional

import mmengine.fileio as fileio
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from mmseg_ext.tools import tool_command

from .checked_seg_dataset import CheckedSegDataset


@DATASETS.register_module()
class PascalVOCInstanceDataset(CheckedSegDataset):
    """PASCAL VOC with its instances: 20 classes of objects and background, which is 0.

    Everingham et al., IJCV 2015 (VOC 2012: 1,464 images train, 1,449 val), and the annotations of
    Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011 (SBD), in the folders of
    VOC, which ``tools/convert_sbd.py`` writes: 5,623 images train, 5,732 val. Outlines are void in
    VOC, 255, and ignored; SBD has no void.

    .. code-block:: none

        data_root/JPEGImages/*.jpg
        data_root/SegmentationClass/*.png
        data_root/SegmentationObject/*.png
        data_root/ImageSets/Segmentation/train.txt, val.txt

    The transform ``LoadInstanceAnnotations`` loads the instances. A pipeline without it needs none.

    Args:
        split (str): The list of images, a file in ImageSets/Segmentation. Defaults to ``'train'``.
        ann_file (str, optional): Another list of images, below ``data_root``. Defaults to None.
        data_prefix (dict, optional): Folders of the images (``img_path``), of the label maps
            (``seg_map_path``) and of the instance maps (``instance_map_path``), below
            ``data_root``. Defaults to those of VOC.
        kwargs: Further arguments of :class:`CheckedSegDataset`.

    Raises:
        FileNotFoundError: If a folder, an image, a label map, an instance map that the pipeline
            loads or the list of images is missing.

    Examples:
        >>> train = dict(type='PascalVOCInstanceDataset', data_root='data/sbd', split='train')
    """

    METAINFO = PascalVOCDataset.METAINFO
    LAYOUTS = (('JPEGImages', 'SegmentationClass'), )
    HOW_TO_GET = (
        'To get SBD in these folders: unpack https://www2.eecs.berkeley.edu/Research/Projects/CS/'
        'vision/grouping/semantic_contours/benchmark.tgz and '
        'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar, then '
        f"{tool_command('convert_sbd.py', 'benchmark_RELEASE', 'VOCdevkit/VOC2012', 'DATA_ROOT')}. "
        'VOC 2012 itself has them, its data_root is VOCdevkit/VOC2012.')

    def __init__(self,
                 split: str = 'train',
                 ann_file: Optional[str] = None,
                 data_prefix: Optional[dict] = None,
                 **kwargs) -> None:
        super().__init__(
            split,
            data_prefix,
            ann_file=ann_file or f'ImageSets/Segmentation/{split}.txt',
            **kwargs)

    def load_data_list(self) -> List[dict]:
        """List the images, their label maps and, if there is such a folder, their instance maps."""
        data_list = super().load_data_list()
        folder = self.data_prefix.get('instance_map_path')
        if self._loads_instances:
            if folder is None:
                self._fail(f'data_prefix={self.data_prefix} names no folder of instance maps '
                           '(instance_map_path)')
            if not fileio.isdir(folder, backend_args=self.backend_args):
                self._fail(f"the folder of instance maps '{folder}' does not exist")
        if folder is not None:
            for info in data_list:
                below = info['img_path'][len(self.data_prefix['img_path']):].lstrip('/\\')
                info['instance_map_path'] = fileio.join_path(
                    folder, below[:-len(self.img_suffix)] + self.seg_map_suffix)
        if self._loads_instances:
            self._require_files('instance_map_path', self.seg_map_suffix, data_list)
        return data_list

    def _find_layout(self, data_root: Optional[str], backend_args: Optional[dict]) -> dict:
        layout = super()._find_layout(data_root, backend_args)
        return dict(layout, instance_map_path='SegmentationObject')
