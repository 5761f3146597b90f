from typing import Sequence

import torch.nn as nn
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Classifier of DeepLab v2: 3x3 convolutions of several dilations, added up.

    Each branch maps the backbone's map straight to the classes, and the logits are the sum of the
    branches (atrous spatial pyramid pooling, "ASPP-L"). There is no norm layer, no nonlinearity and
    no hidden layer; mmseg's ``ASPPHead`` is the later form of DeepLab v3, which has them.

    Shapes: N images, C classes, D channels.

    Source: Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous
    Convolution, and Fully Connected CRFs", TPAMI 2018, Sec. 3.2 and Fig. 7. The paper draws the
    branches of its VGG-16, with two hidden layers each; with ResNet-101 its released model has one
    convolution per branch, drawn from N(0, 0.01) with zero bias, as here. SEMEDA (Chen, Dapogny,
    Cord, 2020) takes that network without its multi-scale inputs, and leaves details open.

    Args:
        in_channels (int): D of the backbone's map, which is meant to have stride 8.
        num_classes (int): C.
        dilations (Sequence[int]): Dilation of each branch. Defaults to (6, 12, 18, 24).
        dropout_ratio (float): Dropout of whole channels before the branches. Defaults to 0.
        init_cfg (dict): Initialization of the branches.
        kwargs: Other arguments of mmseg's ``BaseDecodeHead``: ``in_index``, ``loss_decode``,
            ``sampler``, ``ignore_index``, ``align_corners``... ``conv_cfg``, ``norm_cfg`` and
            ``act_cfg`` have no effect.

    Raises:
        ValueError: If ``dilations`` is empty or has a value below 1.

    Note:
        The loss sees logits upsampled to full resolution, as in any head of mmseg; DeepLab v2 was
        trained in Caffe with the labels shrunk to the map's size. Its classifier learns ten times
        as fast as the backbone: ``paramwise_cfg=dict(custom_keys={'decode_head':
        dict(lr_mult=10)})``.
    """

    def __init__(self,
                 in_channels: int,
                 *,
                 num_classes: int,
                 dilations: Sequence[int] = (6, 12, 18, 24),
                 dropout_ratio: float = 0,
                 init_cfg: dict = dict(type='Normal', layer='Conv2d', std=0.01),  # noqa: B006
                 **kwargs) -> None:
        super().__init__(
            in_channels,
            num_classes,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **kwargs)
        if not dilations or min(dilations) < 1:
            raise ValueError('DeepLabV2Head dilations must be one or more numbers of at least 1, '
                             f'got {tuple(dilations)}.')
        self.channels = self.in_channels
        self.conv_seg = nn.ModuleList(
            nn.Conv2d(self.channels, self.out_channels, 3, padding=dilation, dilation=dilation)
            for dilation in dilations)

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Add up what the branches say, (N, D, h, w) -> (N, C, h, w)."""
        if self.dropout is not None:
            feat = self.dropout(feat)
        return sum(branch(feat) for branch in self.conv_seg)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Classify each position of the map of ``in_index``, (N, D, h, w) -> (N, C, h, w)."""
        return self.cls_seg(self._transform_inputs(inputs))
