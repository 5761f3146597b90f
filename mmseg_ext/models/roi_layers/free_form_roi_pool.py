from typing import Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops import RegionSet, free_form_roi_pool, region_geometry, region_grid_masks


@MODELS.register_module()
class FreeFormRoIPool(nn.Module):
    """RoI pooling over regions of any shape, with the interface of mmcv's ``RoIPool``.

    Source: Eq. 6 to 8 of `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_; ``mode`` and ``bins`` choose between the paper and its
    released code. See :func:`mmseg_ext.ops.free_form_roi_pool`.

    Args:
        output_size (int | Sequence[int]): Height and width of the grid that a region is pooled to.
        spatial_scale (float | Sequence[float]): Positions of the map per pixel of the image, one
            number or (y, x). Defaults to 1.0.
        mode (str): ``'exact'`` (default) or ``'calvin'``.
        bins (str): ``'mmcv'`` (default) or ``'calvin'``.

    Raises:
        ValueError: If ``mode`` or ``bins`` is unknown, or ``output_size`` is not positive.
    """

    def __init__(self,
                 output_size: Union[int, Sequence[int]],
                 spatial_scale: Union[float, Sequence[float]] = 1.0,
                 mode: str = 'exact',
                 bins: str = 'mmcv') -> None:
        super().__init__()
        size = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, ) * 2
        if len(size) != 2 or min(size) < 1:
            raise ValueError('FreeFormRoIPool output_size must be one or two positive numbers, got '
                             f'{output_size}.')
        if mode not in ('exact', 'calvin') or bins not in ('mmcv', 'calvin'):
            raise ValueError("FreeFormRoIPool mode must be 'exact' or 'calvin' and bins 'mmcv' or "
                             f"'calvin', got {mode!r} and {bins!r}.")
        self.output_size = size
        self.spatial_scale = spatial_scale
        self.mode = mode
        self.bins = bins

    def forward(self,
                input: Tensor,
                rois: Tensor,
                masks: Optional[Tensor] = None,
                spatial_scale: Optional[Union[float, Sequence[float]]] = None) -> Tensor:
        """Pool K regions.

        Args:
            input (Tensor): (N, D, h, w).
            rois (Tensor): (K, 5): index of the image, x1, y1, x2, y2 in pixels.
            masks (Tensor, optional): Bool, (K, h, w), the positions in each region; with
                ``mode='calvin'`` (K, ph, pw). Defaults to None: whole boxes.
            spatial_scale (float | Sequence[float], optional): Replaces the scale of the layer.

        Returns:
            Tensor: (K, D, ph, pw).
        """
        scale = self.spatial_scale if spatial_scale is None else spatial_scale
        return free_form_roi_pool(input, rois, masks, self.output_size, scale, self.mode, self.bins)

    def locate(self,
               regions: Sequence[RegionSet],
               size: Tuple[int, int],
               stride: int,
               *,
               mask_rule: str = 'any') -> Tuple[Tensor, Tensor, float]:
        """Give what ``forward`` needs to pool the regions of a batch.

        Args:
            regions (Sequence[RegionSet]): The regions of each image, K in all.
            size (tuple[int, int]): h and w. The map may reach beyond an image.
            stride (int): Pixels per position of the map.
            mask_rule (str): As in :func:`mmseg_ext.ops.region_geometry`. Defaults to ``'any'``.

        Returns:
            tuple[Tensor, Tensor, float]: ``rois``, ``masks`` and ``spatial_scale``, on the CPU.

        Note:
            With ``bins='calvin'`` each image has a scale of its own, (h - 1) / (H - 1), as in the
            released code: the boxes are in positions, and the scale is 1.
        """
        boxes, masks = zip(*[
            region_geometry(each, size, stride, mask_rule=mask_rule) for each in regions])
        if self.mode == 'calvin':
            masks = [region_grid_masks(*each, self.output_size) for each in zip(regions, boxes)]
        scale = 1 / stride
        if self.bins == 'calvin':
            boxes = [box * _calvin_scale(each, stride) for each, box in zip(regions, boxes)]
            scale = 1.
        numbers = torch.tensor([each.num_regions for each in regions])
        images = torch.repeat_interleave(torch.arange(len(regions)), numbers)
        rois = torch.cat([images[:, None], torch.cat(boxes)], dim=1).float()
        return rois, torch.cat(masks), scale

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return (f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
                f'mode={self.mode!r}, bins={self.bins!r}')


def _calvin_scale(regions: RegionSet, stride: int) -> Tensor:
    """Positions per pixel for x1, y1, x2, y2 of an image, whose map has rounded up."""
    height, width = ((-(-side // stride) - 1) / max(side - 1, 1) for side in regions.cells.shape)
    return torch.tensor([width, height, width, height])
