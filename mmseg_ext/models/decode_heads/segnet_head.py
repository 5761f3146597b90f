from typing import List, Optional, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.registry import MODELS
from torch import Tensor

from .stagewise_decode_head import StagewiseDecodeHead


@MODELS.register_module()
class SegNetHead(StagewiseDecodeHead):
    """SegNet's decoder: max-unpooling with the encoder's indices, then mirrored convolutions.

    With ``deep_supervision`` it is the baseline "SegNet+DS" of the LRN paper: a classifier and a
    loss at each decoder stage. The paper does not say how these classifiers look; ours are one
    3x3 convolution each, like the last layer of SegNet.

    Source: Badrinarayanan, Kendall, Cipolla, "SegNet", 2015; Label Refinement Network, Sec. 5.1.

    Args:
        in_channels (Sequence[int]): Channels of the encoder's maps: the last convolution of each
            stage before its pooling, finest first, then the last pooling.
        num_classes (int): C.
        num_convs (Sequence[int]): Convolutions of each encoder stage, finest first; the decoder
            mirrors them. Defaults to VGG-16's.
        deep_supervision (bool): Add a loss at each decoder stage. Defaults to False.
        norm_cfg (dict, optional): Norm layer of the decoder. Defaults to ``dict(type='BN')``.
        kwargs: Arguments of :class:`StagewiseDecodeHead`.

    Raises:
        ValueError: If ``num_convs`` and ``in_channels`` do not fit.

    Note:
        The indices of a pooling say where the maximum of each 2x2 window of the map before it is,
        so the head finds them in that map and the encoder need not pass them on.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 *,
                 num_classes: int,
                 num_convs: Sequence[int] = (2, 2, 3, 3, 3),
                 deep_supervision: bool = False,
                 norm_cfg: Optional[dict] = dict(type='BN'),  # noqa: B006
                 **kwargs) -> None:
        if len(in_channels) != len(num_convs) + 1:
            raise ValueError(
                f'SegNetHead mirrors {len(num_convs)} encoder stages (num_convs) and needs '
                f'{len(num_convs) + 1} maps (in_channels), got {len(in_channels)}.')
        super().__init__(
            in_channels,
            num_stages=len(num_convs) if deep_supervision else 1,
            num_classes=num_classes,
            channels=in_channels[0],
            norm_cfg=norm_cfg,
            **kwargs)
        self.deep_supervision = deep_supervision
        self.blocks = nn.ModuleList()
        self.classifiers = nn.ModuleList()
        for stage in reversed(range(len(num_convs))):
            width = self.in_channels[stage]
            # The mirror of a stage's first convolution leads to the width of the stage below. Of
            # the finest stage it leads to the classes: there it is the classifier.
            widths = [width] * num_convs[stage]
            if stage > 0:
                widths.append(self.in_channels[stage - 1])
            self.blocks.append(
                nn.Sequential(*(ConvModule(
                    a,
                    b,
                    3,
                    padding=1,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=self.act_cfg) for a, b in zip(widths[:-1], widths[1:]))))
            if deep_supervision or stage == 0:
                self.classifiers.append(nn.Conv2d(widths[-1], self.out_channels, 3, padding=1))

    def forward(self, inputs: Sequence[Tensor]) -> List[Tensor]:
        """Predict the logits of the stages, coarse to fine, from maps of the encoder, finest first.

        The pooled map is the last. With VGG the stages have the strides 16 to 1; without
        ``deep_supervision`` there is the last alone.
        """
        *stage_maps, x = self._transform_inputs(inputs)
        decoded = []
        for before_pooling, block in zip(reversed(stage_maps), self.blocks):
            x = block(max_unpool_like(x, before_pooling))
            decoded.append(x)
        # zip stops at the shorter: without deep supervision only the finest map is classified.
        logits = [
            classify(x) for classify, x in zip(reversed(self.classifiers), reversed(decoded))
        ]
        return logits[::-1]


def max_unpool_like(pooled: Tensor, before_pooling: Tensor) -> Tensor:
    """Undo a 2x2 max pooling: each value returns to where its window had the maximum.

    Args:
        pooled (Tensor): (N, D, ceil(h / 2), ceil(w / 2)).
        before_pooling (Tensor): The map whose pooling is undone, (N, D, h, w).

    Returns:
        Tensor: (N, D, h, w), zero everywhere else. No gradient reaches ``before_pooling``.
    """
    with torch.no_grad():
        _, indices = F.max_pool2d(before_pooling, 2, ceil_mode=True, return_indices=True)
    return F.max_unpool2d(pooled, indices, 2, output_size=before_pooling.shape[2:])
