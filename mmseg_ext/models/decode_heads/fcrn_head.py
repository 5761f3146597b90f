from typing import Dict, Optional, Sequence

import torch.nn as nn
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import SampleList
from torch import Tensor

from .small_logits import loss_by_feat as loss_from_small_logits
from .small_logits import why_large_logits


@MODELS.register_module()
class FCRNHead(BaseDecodeHead):
    """Classifier of a fully convolutional residual network: a small kernel with a large dilation.

    One dilated convolution from the backbone's map to the classes, or two with a ReLU between
    ("multi-layer"). The side of a logit's field of view, in pixels, is
    ``(dilation * (kernel_size - 1) + 1) * s``, as in Tables 1 and 3; with two layers it is
    ``(2 * dilation * (kernel_size - 1) + 1) * s``. It should not exceed the crop.

    Shapes: N images, C classes, D channels, s pixels per position of the backbone's map.

    The paper was trained in Caffe, with one label per position: a 504x504 crop at s = 8 has 63x63 =
    3,969 points. ``label_stride=s`` does that: labels are sampled at ``[s // 2::s, s // 2::s]``,
    logits are not upsampled, and losses, pixel samplers and ``acc_seg`` see that grid. Without it
    the logits are upsampled and every pixel counts, as in any other head of mmseg. A number of
    pixels such as ``min_kept`` means one or the other.

    Source: Wu, Shen, van den Hengel, "Bridging Category-level and Instance-level Semantic Image
    Segmentation", 2016, Sec. 2.3 and 3.1; the sampled points are as in the authors' released
    code. The paper leaves the initialization open: ours is N(0, 0.01) with zero bias.

    Args:
        in_channels (int): D of the backbone's map.
        num_classes (int): C.
        kernel_size (int): Odd size of each kernel. Defaults to 5, the paper's best; its multi-layer
            classifier has 3.
        dilation (int): Dilation of each kernel, in positions. Defaults to 12, the paper's best.
        classifier (str): ``'linear'`` (default) or ``'multi-layer'``.
        hidden_channels (int): Channels between the two layers. Defaults to 512.
        label_stride (int, optional): s, to compute the loss on the grid of positions. Defaults to
            None: at full resolution.
        dropout_ratio (float): Dropout of whole channels before the last layer. Defaults to 0.
        init_cfg (dict): Initialization of the classifier.
        kwargs: Other arguments of mmseg's ``BaseDecodeHead``: ``in_index``, ``loss_decode``,
            ``sampler``, ``ignore_index``, ``align_corners``... ``conv_cfg``, ``norm_cfg`` and
            ``act_cfg`` have no effect.

    Raises:
        ValueError: If an argument is not one of the above.

    Note:
        Where s does not divide the size of an image, its labels are first padded with
        ``ignore_index``, so there are ceil(H / s) x ceil(W / s) points, as many as positions.
    """

    def __init__(self,
                 in_channels: int,
                 *,
                 num_classes: int,
                 kernel_size: int = 5,
                 dilation: int = 12,
                 classifier: str = 'linear',
                 hidden_channels: int = 512,
                 label_stride: Optional[int] = None,
                 dropout_ratio: float = 0,
                 init_cfg: dict = dict(type='Normal', layer='Conv2d', std=0.01),  # noqa: B006
                 **kwargs) -> None:
        super().__init__(
            in_channels,
            hidden_channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **kwargs)
        if classifier not in ('linear', 'multi-layer'):
            raise ValueError(
                f"FCRNHead classifier must be 'linear' or 'multi-layer', got {classifier!r}.")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'FCRNHead kernel_size must be odd, got {kernel_size}.')
        if dilation < 1:
            raise ValueError(f'FCRNHead dilation must be at least 1, got {dilation}.')
        if label_stride is not None and label_stride < 1:
            raise ValueError(
                f'FCRNHead label_stride must be None or at least 1, got {label_stride}.')
        if label_stride is not None and self.ignore_index is None:
            raise ValueError('FCRNHead label_stride needs an ignore_index, to pad labels with.')
        self.label_stride = label_stride

        conv = dict(
            kernel_size=kernel_size, dilation=dilation, padding=dilation * (kernel_size // 2))
        if classifier == 'linear':
            self.channels = self.in_channels
            self.hidden = nn.Identity()
        else:
            self.hidden = nn.Sequential(
                nn.Conv2d(self.in_channels, self.channels, **conv), nn.ReLU(inplace=True))
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, **conv)
        self.takes_small_logits = label_stride is None and why_large_logits(self) is None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify each position of the map of ``in_index``, (N, D, h, w) -> (N, C, h, w)."""
        return self.cls_seg(self.hidden(self._transform_inputs(inputs)))

    def loss_by_feat(self, seg_logits: Tensor,
                     batch_data_samples: SampleList) -> Dict[str, Tensor]:
        """Compute the losses and ``acc_seg``, on the grid of positions or at full resolution.

        Raises a ValueError if ``label_stride`` is not the stride of the backbone's map.
        """
        self.check_grid(seg_logits, batch_data_samples[0].gt_sem_seg.data.shape[-2:])
        if self.takes_small_logits:
            return loss_from_small_logits(self, seg_logits, batch_data_samples)
        return super().loss_by_feat(seg_logits, batch_data_samples)

    def check_grid(self, maps: Tensor, size: Sequence[int]) -> None:
        """Raise a ValueError unless maps (N, C, h, w) have a position for each point of the grid.

        The height and width are those of the images. Without ``label_stride`` any map is right.
        """
        if self.label_stride is None:
            return
        grid = tuple(-(-side // self.label_stride) for side in size)
        if tuple(maps.shape[2:]) != grid:
            raise ValueError(
                f'{type(self).__name__} label_stride={self.label_stride} makes {grid[0]}x{grid[1]} '
                f'points of {size[0]}x{size[1]} labels, but the backbone gives '
                f'{maps.shape[2]}x{maps.shape[3]} positions: set label_stride to the stride of the '
                'backbone (output_stride of FCRN), or to None.')

    def _stack_batch_gt(self, batch_data_samples: SampleList) -> Tensor:
        """Stack the labels that the losses see, (N, 1, H, W) or (N, 1, h, w)."""
        label = super()._stack_batch_gt(batch_data_samples)
        if self.label_stride is None:
            return label
        return sample_labels(label, self.label_stride, self.ignore_index)


def sample_labels(label: Tensor, stride: int, ignore_index: int = 255) -> Tensor:
    """Take one label for each position of a grid, as the paper's training in Caffe does.

    Labels (N, 1, H, W) -> (N, 1, ceil(H / s), ceil(W / s)): those at (s // 2 + s i, s // 2 + s j),
    ``ignore_index`` where a point lies outside the image.
    """
    height, width = label.shape[2:]
    label = F.pad(label, (0, -width % stride, 0, -height % stride), value=ignore_index)
    return label[:, :, stride // 2::stride, stride // 2::stride]
