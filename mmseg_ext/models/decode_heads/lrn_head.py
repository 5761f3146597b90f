from typing import List, Optional, Sequence

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from .stagewise_decode_head import StagewiseDecodeHead


@MODELS.register_module()
class LRNHead(StagewiseDecodeHead):
    """Label Refinement Network: label maps predicted from coarse to fine.

    The coarsest label map s_1 is a convolution of the encoder's last map. Each following map
    joins the upsampled previous one with features of the encoder (Fig. 2, Eq. 2):

        m_k = ReLU(BN(conv3x3(f_{7-k})))
        s_k = conv3x3(concat(upsample(s_{k-1}), m_k)),   k = 2..6

    where f_5..f_1 are the last convolutions of the encoder's stages, before pooling. Every label
    map has C channels and a loss of its own; s_6 is the prediction.

    Source: Islam, Naha, Rochan, Bruce, Wang, "Label Refinement Network for Coarse-to-Fine
    Semantic Segmentation", 2017. The paper leaves the initialization of the label
    convolutions open (ours: PyTorch's default) and shows the upsampled map under the name of the
    next stage in Fig. 2; here s_k is the output of the k-th convolution.

    Args:
        in_channels (Sequence[int]): Channels of the encoder's maps, finest first; the last is the
            one that s_1 is made of. There are as many stages as maps.
        num_classes (int): C.
        channels (int, optional): Channels of m_k. Defaults to C, as in the paper. With 64 and
            ImageNet weights mIoU is higher: by 5.7 +- 0.4 on CamVid, C = 11, and by 2.0 +- 0.3 on
            faces, C = 6 (configs/lrn/README.md).
        skip_act_cfg (dict, optional): Activation of m_k. Defaults to ReLU, as in the paper;
            None leaves it out, as the same authors' G-FRNet does.
        kwargs: Arguments of :class:`StagewiseDecodeHead`, such as ``stage_weights``,
            ``supervision``, ``norm_cfg`` (of m_k; give ``dict(type='BN')`` for the paper's),
            ``loss_decode``.

    Example:
        >>> head = LRNHead([64, 128, 256, 512, 512, 512], num_classes=11)
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 *,
                 num_classes: int,
                 channels: Optional[int] = None,
                 skip_act_cfg: Optional[dict] = dict(type='ReLU'),  # noqa: B006
                 **kwargs) -> None:
        super().__init__(
            in_channels,
            num_stages=len(in_channels),
            num_classes=num_classes,
            channels=num_classes if channels is None else channels,
            **kwargs)
        *skip_channels, top_channels = self.in_channels
        self.top = self._label_conv(top_channels)
        self.skips = nn.ModuleList()
        self.refinements = nn.ModuleList()
        for skip in reversed(skip_channels):
            self.skips.append(
                ConvModule(
                    skip,
                    self.channels,
                    3,
                    padding=1,
                    conv_cfg=self.conv_cfg,
                    norm_cfg=self.norm_cfg,
                    act_cfg=skip_act_cfg))
            self.refinements.append(self._label_conv(self.out_channels + self.channels))

    def _label_conv(self, in_channels: int) -> nn.Conv2d:
        # PyTorch's initialization, not Kaiming's, which is meant for a layer before a ReLU. There
        # is no ReLU between two label maps, so it would double the logits' variance at every stage.
        return nn.Conv2d(in_channels, self.out_channels, 3, padding=1)

    def forward(self, inputs: Sequence[Tensor]) -> List[Tensor]:
        """Predict the logits of stages s_1 to s_K, coarse to fine, from maps of the encoder, finest
        first.

        s_1 has the size of the last map, s_k (k >= 2) that of its skip map.
        """
        *skip_maps, top_map = self._transform_inputs(inputs)
        stages = [self.top(top_map)]
        for feature, skip, refine in zip(reversed(skip_maps), self.skips, self.refinements):
            # To the size of the skip map, not by a factor of two: odd sizes were rounded up.
            coarse = resize(
                stages[-1], feature.shape[2:], mode='bilinear', align_corners=self.align_corners)
            stages.append(refine(torch.cat([coarse, skip(feature)], dim=1)))
        return stages
