from typing import Optional, Sequence

import numpy as np
from mmseg.registry import TRANSFORMS

from mmseg_ext.ops import RegionSet

from ..regions.partition import partition
from .pack_numbered_map import PackNumberedMap


@TRANSFORMS.register_module()
class PackRegionInputs(PackNumberedMap):
    """Pack an image, its labels and its regions, which ``GenerateRegions`` or ``LoadRegions`` gave.

    As mmseg's ``PackSegInputs``, with ``regions`` in the meta information of the data sample: a
    :class:`mmseg_ext.ops.RegionSet` for the image as it is now. Regions that have no
    pixel left are dropped, cells are numbered anew.

    In training the ground-truth regions are added: the 8-connected components of pixels with the
    same label (`Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_, section 4.1; 8 neighbours as in the released code). Cells
    are then split, so that each lies in one component, or has no label.

    Required Keys:

    - img, region_cells, region_index
    - gt_seg_map, with ``gt_regions``
    - scale_factor, pad_shape, flip (optional), which tell why a map has another size

    Args:
        meta_keys (Sequence[str], optional): Keys to pack beside ``regions``. Defaults to None:
            the keys of ``PackSegInputs``.
        gt_regions (bool): Whether to add the ground-truth regions, after the others. For training.
            Defaults to False.
        rectangular (bool): Replace every region by its bounding box ("purely rectangular" in table
            4; ground-truth regions too, of which the paper says nothing). Cells are then the pixels
            that lie in the same boxes, and may have several labels. Defaults to False.
        min_gt_iou (float): With ``gt_regions``, drop the proposals whose best IoU with a
            ground-truth region is lower. All pixels count, labelled or not; shapes are taken before
            ``rectangular``. The released code has 0.1, the paper says nothing. Defaults to 0: all
            are kept.

    Raises:
        ValueError: If ``min_gt_iou`` is not in [0, 1] or given without ``gt_regions``; for an
            image, if a transform has moved it and not the regions or labels, with its likely name.
        KeyError: If the pipeline gives no regions, or no labels for ``gt_regions``.

    Note:
        ``Pad`` leaves all maps but ``gt_seg_map`` as they were; they are padded here with 255, on
        the right and below. For that ``Pad`` has to come after ``Resize`` and ``RandomFlip``. In
        tests, where mmseg loads labels after ``Resize``, ``gt_seg_map`` has the size of the
        original image. An image without labels keeps all its proposals. If no pixel has a cell,
        there are no regions.
    """

    map_key, scale_key, contents = 'region_cells', 'region_scale_factor', 'regions'
    label_hint = ('load the labels before Resize, as gt_regions=True needs them at the size of the '
                  'image')

    def __init__(self,
                 meta_keys: Optional[Sequence[str]] = None,
                 gt_regions: bool = False,
                 rectangular: bool = False,
                 min_gt_iou: float = 0.) -> None:
        super().__init__(meta_keys)
        if not 0 <= min_gt_iou <= 1:
            raise ValueError(f'min_gt_iou must be in [0, 1], got {min_gt_iou}.')
        if min_gt_iou > 0 and not gt_regions:
            raise ValueError(f'min_gt_iou={min_gt_iou} compares with ground-truth regions: it '
                             'needs gt_regions=True.')
        self.gt_regions = gt_regions
        self.rectangular = rectangular
        self.min_gt_iou = min_gt_iou

    def transform(self, results: dict) -> dict:
        """Pack the results.

        Args:
            results (dict): Results of the pipeline.

        Returns:
            dict: ``inputs`` and ``data_samples``, as ``PackSegInputs`` returns them.
        """
        if 'region_cells' not in results:
            raise KeyError('PackRegionInputs: the pipeline gives no regions; it needs LoadRegions '
                           '(or GenerateRegions) right behind LoadImageFromFile.')
        if self.gt_regions and 'gt_seg_map' not in results:
            raise KeyError("PackRegionInputs: gt_regions=True needs 'gt_seg_map', but the pipeline "
                           'has no LoadAnnotations; in a test pipeline leave gt_regions out.')
        packed = super().transform(results)
        packed['data_samples'].set_metainfo(dict(regions=self._make_regions(results)))
        return packed

    def _make_regions(self, results: dict) -> RegionSet:
        moved = RegionSet(np.asarray(results['region_cells']), *results['region_index'])
        labels = results['gt_seg_map'] if self.gt_regions else None
        return partition(moved, labels, self.min_gt_iou, self.rectangular)

    def _loaded_late(self, results: dict, key: str) -> bool:
        return key == 'gt_seg_map' and not self.gt_regions

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(meta_keys={self.meta_keys}, gt_regions={self.gt_regions}, '
                f'rectangular={self.rectangular}, min_gt_iou={self.min_gt_iou})')
