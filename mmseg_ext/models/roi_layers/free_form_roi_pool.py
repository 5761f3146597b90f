from typing import Optional, Sequence, Union

import torch.nn as nn
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ext.ops import free_form_roi_pool


@MODELS.register_module()
class FreeFormRoIPool(nn.Module):
    """RoI pooling over regions of any shape, with the interface of mmcv's ``RoIPool``.

    Source: Eq. 6 to 8 of `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_; ``mode`` and ``bins`` choose between the paper and its
    released code. See :func:`mmseg_ext.ops.free_form_roi_pool`.

    Args:
        output_size (int | Sequence[int]): Height and width of the grid that a region is pooled to.
        spatial_scale (float | Sequence[float]): Cells of the map per pixel of the image, one number
            or (y, x). Defaults to 1.0.
        mode (str): ``'exact'`` (default) or ``'calvin'``.
        bins (str): ``'mmcv'`` (default) or ``'calvin'``.

    Raises:
        ValueError: If ``mode`` or ``bins`` is unknown, or the size is none.
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
            masks (Tensor, optional): Bool, (K, h, w), the cells in each region; with
                ``mode='calvin'`` (K, ph, pw). Defaults to None: whole boxes.
            spatial_scale (float | Sequence[float], optional): Instead of that of the layer.

        Returns:
            Tensor: (K, D, ph, pw).
        """
        scale = self.spatial_scale if spatial_scale is None else spatial_scale
        return free_form_roi_pool(input, rois, masks, self.output_size, scale, self.mode, self.bins)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return (f'output_size={self.output_size}, spatial_scale={self.spatial_scale}, '
                f'mode={self.mode!r}, bins={self.bins!r}')
