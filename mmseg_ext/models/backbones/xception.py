from collections import OrderedDict
from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch.nn as nn
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmseg.registry import MODELS
from torch import Tensor

# Channels of the three convolutions of each block, and its stride in the ImageNet network.
ENTRY_FLOW = {
    65: [((128, ) * 3, 2), ((256, ) * 3, 2), ((728, ) * 3, 2)],
    71: [((128, ) * 3, 2), ((256, ) * 3, 1), ((256, ) * 3, 2), ((728, ) * 3, 1), ((728, ) * 3, 2)],
}
MIDDLE_FLOW = [((728, ) * 3, 1)] * 16
EXIT_FLOW = [((728, 1024, 1024), 2), ((1536, 1536, 2048), 1)]
STEM = (32, 64)

# As DeepLab's code: a truncated normal distribution, cut at two standard deviations.
INIT_CFG = [
    dict(type='TruncNormal', layer='Conv2d', std=0.09, a=-0.18, b=0.18),
    dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
]


@MODELS.register_module()
class Xception(BaseModule):
    """Aligned Xception of DeepLab v3+: depthwise separable convolutions in residual blocks.

    A separable convolution is a 3x3 depthwise and a 1x1 convolution, each with a norm layer. Three
    of them and a shortcut are a block, and halving is done by the last of the three, not by
    pooling. Blocks that would halve beyond ``output_stride`` do not, and every block behind them is
    dilated instead: the same weights give the same values as in the ImageNet network, and more of
    them in between.

    It gives four maps. Maps 0, 2 and 3 have as many channels as those of ResNet-101, so the heads
    of a config of DeepLab v3+ fit unchanged:

    ===  =============================  ========  ======================================
    map  stride                         channels  for
    ===  =============================  ========  ======================================
    0    4                              256       low-level features (``c1_in_channels``)
    1    8                              728
    2    16, at most ``output_stride``  1024      auxiliary heads
    3    ``output_stride``              2048      decode heads
    ===  =============================  ========  ======================================

    Maps 0 to 2 are taken inside the blocks that halve, in front of the ReLU of their third
    convolution, where DeepLab's decoder takes its low-level features.

    Parameters carry the names of timm's ``xception65`` and ``xception71``, ported from DeepLab:
    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` loads a file or address of their weights.
    These expect images in [-1, 1]: ``mean=[127.5] * 3, std=[127.5] * 3`` in the data preprocessor.

    Shapes: N images of H x W pixels.

    Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image
    Segmentation", ECCV 2018, Fig. 4, which is the network of depth 65. The layers of 71 and the
    place of the low-level features are in DeepLab's released code alone.

    Args:
        depth (int): 65 or 71. Defaults to 71.
        output_stride (int): Pixels per position of the last map: 8 (default), 16 or 32. With 32
            there is no dilation.
        base_channels (int): Channels of the first convolution, 32 in the paper. All others are in
            proportion, rounded down; smaller values make CPU-sized networks. Defaults to 32.
        norm_cfg (dict): Norm layers. Its ``eps`` defaults to 1e-3, as in DeepLab.
        norm_eval (bool): Whether batch norm always uses its stored statistics. Defaults to False.
            True with ``requires_grad=False`` in ``norm_cfg`` is frozen batch norm.
        out_indices (Sequence[int]): Which maps to return. Defaults to all four.
        init_cfg (dict or list[dict], optional): Initialization. Defaults to DeepLab's, which is
            random.

    Raises:
        ValueError: If ``depth``, ``output_stride`` or ``out_indices`` is not one of the above.
        RuntimeError: On loading weights that lack some of this network's, as those of another
            depth do.

    Note:
        Frozen batch norm is for pretrained weights: with random ones the signal would vanish.
    """

    def __init__(self,
                 depth: int = 71,
                 output_stride: int = 8,
                 base_channels: int = 32,
                 norm_cfg: dict = dict(type='BN', requires_grad=True),  # noqa: B006
                 norm_eval: bool = False,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 init_cfg: Optional[Union[dict, List[dict]]] = None) -> None:
        super().__init__(init_cfg or INIT_CFG)
        if depth not in ENTRY_FLOW:
            raise ValueError(f'Xception depth must be one of {sorted(ENTRY_FLOW)}, got {depth}.')
        if output_stride not in (8, 16, 32):
            raise ValueError(f'Xception output_stride must be 8, 16 or 32, got {output_stride}.')
        if not out_indices or not set(out_indices) <= set(range(4)):
            raise ValueError(f'Xception out_indices must be from 0 to 3, got {tuple(out_indices)}.')
        self.depth = depth
        self.norm_eval = norm_eval
        self.out_indices = tuple(out_indices)
        norm_cfg = dict(dict(eps=1e-3), **norm_cfg)

        def scaled(channels: Sequence[int]) -> List[int]:
            return [c * base_channels // STEM[0] for c in channels]

        first, in_channels = scaled(STEM)
        self.stem = nn.Sequential(
            _conv(3, first, 3, 2, norm_cfg, relu=True),
            _conv(first, in_channels, 3, 1, norm_cfg, relu=True))

        flows = ([(block, 'conv') for block in ENTRY_FLOW[depth]]
                 + [(block, 'identity') for block in MIDDLE_FLOW]
                 + [(EXIT_FLOW[0], 'conv'), (EXIT_FLOW[1], 'none')])
        self.blocks = nn.Sequential()
        stride, dilation = 2, 1
        halving = []
        for number, ((channels, block_stride), shortcut) in enumerate(flows):
            channels = scaled(channels)
            step = block_stride if stride < output_stride else 1
            self.blocks.append(
                XceptionBlock(in_channels, channels, step, dilation, shortcut, norm_cfg))
            in_channels = channels[-1]
            stride *= step
            dilation *= block_stride // step  # from the next block on: this one's input is dense
            if block_stride > 1:
                halving.append(number)
        self._blocks_of_maps = halving[1:]  # the first of them is at stride 2

    def init_weights(self) -> None:
        """Initialize, or read the weights if ``init_cfg`` says so.

        Raises:
            FileNotFoundError: If their file is not there.
        """
        try:
            super().init_weights()
        except FileNotFoundError as error:
            name = f'xception{self.depth}'
            raise FileNotFoundError(
                f"{error} timm has the ImageNet weights; write them by: python -c \"import timm, "
                f"torch; torch.save(timm.create_model('{name}', pretrained=True).state_dict(), "
                f"'{name}.pth')\"") from None

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Compute the maps of ``out_indices`` of images (N, 3, H, W)."""
        x = self.stem(x)
        maps = []
        for number, block in enumerate(self.blocks):
            x, inner = block(x)
            if number in self._blocks_of_maps:
                maps.append(inner)
        maps.append(x)
        return tuple(maps[i] for i in self.out_indices)

    def train(self, mode: bool = True) -> 'Xception':
        """Switch the mode, but leave batch norm in eval mode if ``norm_eval`` is set."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args,
                              **kwargs) -> None:
        # mmengine would go on with random values where it does not find stored ones.
        if any(key.startswith(prefix) for key in state_dict):
            ours = [f'{prefix}{name}' for name in self.state_dict()
                    if not name.endswith('num_batches_tracked')]
            missing = [name for name in ours if name not in state_dict]
            if missing:
                raise RuntimeError(
                    f'The checkpoint lacks {len(missing)} of the {len(ours)} tensors of '
                    f'Xception-{self.depth}, {missing[0]!r} for one: give weights that have the '
                    f"names of timm's xception{self.depth}.")
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class XceptionBlock(nn.Module):
    """Three separable convolutions and a shortcut.

    Args:
        in_channels (int): Channels of the input.
        channels (Sequence[int]): Channels that each of the three convolutions gives.
        stride (int): Stride of the third, and of the shortcut.
        dilation (int): Dilation of all three.
        shortcut (str): ``'conv'``, ``'identity'`` or ``'none'``. Without a shortcut there is a ReLU
            after each norm layer, otherwise one in front of each separable convolution.
        norm_cfg (dict): Norm layers.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], stride: int, dilation: int,
                 shortcut: str, norm_cfg: dict) -> None:
        super().__init__()
        self.is_residual = shortcut != 'none'
        if shortcut == 'conv':
            self.shortcut = _conv(in_channels, channels[-1], 1, stride, norm_cfg, relu=False)
        elif shortcut == 'identity':
            self.shortcut = nn.Identity()
        self.stack = nn.Sequential()
        for i, out_channels in enumerate(channels):
            depthwise = _conv(in_channels, in_channels, 3, stride if i == 2 else 1, norm_cfg,
                              relu=not self.is_residual, dilation=dilation, groups=in_channels)
            pointwise = _conv(in_channels, out_channels, 1, 1, norm_cfg, relu=not self.is_residual)
            layers = OrderedDict((f'{name}_{kind}', layer)
                                 for kind, conv in (('dw', depthwise), ('pw', pointwise))
                                 for name, layer in conv.named_children())
            if self.is_residual:
                # The inputs of the first and the third are needed elsewhere too.
                layers['act'] = nn.ReLU(inplace=i == 1)
                layers.move_to_end('act', last=False)
            self.stack.add_module(f'conv{i + 1}', nn.Sequential(layers))
            in_channels = out_channels

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        """Return the output of the block, and what its third convolution gets."""
        inner = self.stack.conv2(self.stack.conv1(x))
        out = self.stack.conv3(inner)
        if self.is_residual:
            out = out + self.shortcut(x)
        return out, inner


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int, norm_cfg: dict,
          relu: bool, dilation: int = 1, groups: int = 1) -> nn.Sequential:
    """Make a convolution and its norm layer, under timm's names for them."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, dilation * (kernel_size // 2),
                     dilation, groups, bias=False)
    layers = OrderedDict(conv=conv, bn=build_norm_layer(norm_cfg, out_channels)[1])
    if relu:
        layers['act'] = nn.ReLU(inplace=True)
    return nn.Sequential(layers)
