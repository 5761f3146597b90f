from typing import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import ConfigType
from torch import Tensor


@MODELS.register_module()
class FCN16sHead(BaseDecodeHead):
    """FCN-16s: the fully connected layers of VGG as convolutions, and scores of a finer map added.

    The 7x7 and 1x1 convolutions fc6 and fc7 and a 1x1 score layer follow pool5 (stride 32). Their
    scores, upsampled by 2, and 1x1 scores of pool4 (stride 16) are summed. The upsampling is a
    transposed convolution which is learned and starts as bilinear interpolation. Both score layers
    start at zero: with no preference for any class, and without pool4.

    Shapes: N images of H x W pixels, C classes, D channels of conv4 and pool5.

    Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR
    2015, Sec. 4.1 to 4.3. Different here, as in the reimplementation in MatConvNet with which the
    region paper compares: fc6 is padded by 3 and pooling rounds up, so that the first positions of
    both maps begin at pixel 0, where FCN's paper pads the image by 100 pixels and crops every map
    by an offset. That reimplementation does not learn the upsampling. Ours: where pool4 has an odd
    size, the end of the upsampled scores is cut off; the network is trained at once, where the
    paper first trains without pool4. The last, fixed bilinear upsampling to pixels is that of every
    head of mmseg.

    Args:
        in_channels (Sequence[int]): D of the last map of conv4, **before** its pooling, and of
            pool5: the maps 3 and 5 of ``VGG``.
        channels (int): Channels of fc6 and fc7. Defaults to 4096, as in VGG.
        num_classes (int): C.
        in_index (Sequence[int]): Which of the backbone's maps these two are. Defaults to (0, 1).
        dropout_ratio (float): Dropout of fc6 and fc7, of single values. Defaults to 0.5.
        init_cfg (dict | list[dict]): Initialization. fc6 and fc7 are called as in torchvision's
            VGG (``classifier.0``, ``classifier.3``), so that
            ``dict(type='Pretrained', checkpoint='torchvision://vgg16')`` loads both. Defaults to
            Kaiming's for these two.
        kwargs: Other arguments of mmseg's ``BaseDecodeHead``: ``loss_decode``, ``sampler``,
            ``ignore_index``, ``align_corners``... ``conv_cfg``, ``norm_cfg`` and ``act_cfg`` have
            no effect.

    Raises:
        ValueError: If there are not two maps, or, when called, if they do not fit each other.

    Note:
        Logits have ceil(H / 16) x ceil(W / 16) positions. Where 16 does not divide the size of an
        image, mmseg squeezes them into it: ``test_cfg=dict(size_divisor=16)`` in the data
        preprocessor pads the image instead. The upsampling takes scores beyond the border as 0,
        so the logits of the outermost positions start smaller, for all classes alike.
    """

    def __init__(self,
                 in_channels: Sequence[int],
                 channels: int = 4096,
                 *,
                 num_classes: int,
                 in_index: Sequence[int] = (0, 1),
                 dropout_ratio: float = 0.5,
                 init_cfg: ConfigType = dict(  # noqa: B006
                     type='Kaiming', override=dict(name='classifier')),
                 **kwargs) -> None:
        for name, value in (('in_channels', in_channels), ('in_index', in_index)):
            if not isinstance(value, (list, tuple)) or len(value) != 2:
                raise ValueError(f'FCN16sHead {name} must be two numbers, for conv4 before its '
                                 f'pooling and for pool5, got {value}.')
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            in_index=in_index,
            input_transform='multiple_select',
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg,
            **kwargs)
        conv4_channels, pool5_channels = in_channels
        # numbered as the classifier of torchvision's VGG
        self.classifier = nn.Sequential(
            nn.Conv2d(pool5_channels, channels, 7, padding=3), nn.ReLU(inplace=True),
            nn.Dropout(dropout_ratio),
            nn.Conv2d(channels, channels, 1), nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(dropout_ratio)  # mmseg's is of whole channels
        self.conv_skip = nn.Conv2d(conv4_channels, self.out_channels, 1)
        for layer in (self.conv_seg, self.conv_skip):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.upsample = nn.ConvTranspose2d(
            self.out_channels, self.out_channels, 4, stride=2, padding=1, bias=False)
        tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        with torch.no_grad():  # each class from its own scores alone
            self.upsample.weight.copy_(
                torch.eye(self.out_channels)[:, :, None, None] * torch.outer(tent, tent))

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Score each position of pool4: logits (N, C, ceil(H / 16), ceil(W / 16)).

        The maps of ``in_index`` are conv4, (N, D, ceil(H / 8), ceil(W / 8)), and pool5, (N, D,
        ceil(H / 32), ceil(W / 32)). Raises a ValueError if pool5 is not conv4, pooled twice.
        """
        conv4, pool5 = self._transform_inputs(inputs)
        fine = self.conv_skip(F.max_pool2d(conv4, 2, ceil_mode=True))
        height, width = fine.shape[2:]
        if tuple(pool5.shape[2:]) != (-(-height // 2), -(-width // 2)):
            raise ValueError(
                f'FCN16sHead needs conv4 before its pooling and pool5, a quarter of its size '
                f'rounded up, got maps of {conv4.shape[2]}x{conv4.shape[3]} and '
                f'{pool5.shape[2]}x{pool5.shape[3]}: set out_indices=(3, 5) in the VGG backbone.')
        coarse = self.upsample(self.cls_seg(self.classifier(pool5)))
        # pool5 was rounded up: an odd pool4 has one row or column less than twice that
        return fine + coarse[:, :, :height, :width]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Take fully connected layers, such as VGG's, for convolutions."""
        for layer in (0, 3):
            name = f'{prefix}classifier.{layer}.weight'
            weight = self.classifier[layer].weight
            if name in state_dict and state_dict[name].shape == weight.flatten(1).shape:
                state_dict[name] = state_dict[name].reshape(weight.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
