import re
from itertools import accumulate
from typing import Dict, List, Optional, Sequence, Tuple

import torch.nn as nn
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

# Convolutions per stage, Table 1 of the VGG paper (columns A, B, D, E).
STAGE_CONVS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
STAGE_WIDTHS = (1, 2, 4, 8, 8)  # in units of base_channels


@MODELS.register_module()
class VGG(BaseModule):
    """The convolutional trunk of VGG, with the maps a decoder needs.

    Layers carry the names and numbers of torchvision's ``vgg*`` and ``vgg*_bn`` models
    (``features.N``), so ``init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16_bn')``
    loads. Weights of a plain VGG (``'torchvision://vgg16'``) also load into the batch-norm variant,
    which is how SegNet and LRN start: convolutions are matched in their order, with their biases,
    and the norm layers keep their initial values.

    Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", ICLR 2015; as an encoder: SegNet, and Label Refinement Network (Fig. 1).

    Args:
        depth (int): 11, 13, 16 or 19. Defaults to 16.
        in_channels (int): Channels of the input image. Defaults to 3.
        base_channels (int): Channels of the first stage, 64 in the paper; the stages have 1, 2, 4,
            8 and 8 times as many. Smaller values make CPU-sized networks. Defaults to 64.
        norm_cfg (dict, optional): Norm layer after each convolution. None is the original VGG.
        out_indices (Sequence[int]): Which maps to return: 0 to 4 are the outputs of the last
            convolution (after norm and ReLU) of each stage **before** its pooling, at strides 1,
            2, 4, 8 and 16; 5 is the fifth pooling, at stride 32. Stages behind the last of them are
            not built. Defaults to all six.
        init_cfg (dict or list[dict], optional): Initialization config.

    Raises:
        ValueError: If ``depth`` or ``out_indices`` is not one of the above.
        RuntimeError: On loading weights of another depth, or weights with batch norm into a
            network without.

    Note:
        Pooling rounds **up** (Caffe's convention, torchvision rounds down), so that any input
        size works: 360x480 gives 360x480, 180x240, 90x120, 45x60, 23x30 and 12x15.
    """

    def __init__(self,
                 depth: int = 16,
                 in_channels: int = 3,
                 base_channels: int = 64,
                 norm_cfg: Optional[dict] = None,
                 out_indices: Sequence[int] = (0, 1, 2, 3, 4, 5),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if depth not in STAGE_CONVS:
            raise ValueError(f'VGG depth must be one of {sorted(STAGE_CONVS)}, got {depth}.')
        if not out_indices or not set(out_indices) <= set(range(6)):
            raise ValueError(f'VGG out_indices must be from 0 to 5, got {tuple(out_indices)}.')
        self.depth = depth
        self.out_indices = tuple(out_indices)

        layers: List[nn.Module] = []
        for num_convs, width in zip(STAGE_CONVS[depth][:max(out_indices) + 1], STAGE_WIDTHS):
            for _ in range(num_convs):
                layers.append(nn.Conv2d(in_channels, base_channels * width, 3, padding=1))
                if norm_cfg is not None:
                    layers.append(build_norm_layer(norm_cfg, base_channels * width)[1])
                layers.append(nn.ReLU(inplace=True))
                in_channels = base_channels * width
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*layers)

    def init_weights(self) -> None:
        """Kaiming initialization unless ``init_cfg`` says otherwise.

        PyTorch's default for convolutions lets the signal of a 16-layer network without norm
        layers vanish.
        """
        if self.init_cfg is None:
            self.init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm'])
            ]
        super().init_weights()

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Compute the maps of ``out_indices`` of images (N, 3, H, W)."""
        outs = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                outs.append(x)
                if len(outs) > max(self.out_indices):
                    break
            x = layer(x)
        else:
            outs.append(x)
        return tuple(outs[i] for i in self.out_indices)

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args,
                              **kwargs) -> None:
        self._match_convolutions(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _match_convolutions(self, state_dict: Dict[str, Tensor], prefix: str) -> None:
        """Renumber ``features.N.*`` of a checkpoint to this network's layers, in place.

        A plain VGG-16 has its second convolution at ``features.2``, the batch-norm variant at
        ``features.3``: what identifies a convolution is its place among the convolutions.
        """
        for key in [k for k in state_dict if k.startswith(f'{prefix}classifier.')]:
            del state_dict[key]  # the fully connected layers of the ImageNet model

        pattern = re.compile(re.escape(prefix) + r'features\.(\d+)\.(.+)')
        stored: Dict[int, Dict[str, str]] = {}  # layer number -> {parameter name: key}
        for key in state_dict:
            match = pattern.fullmatch(key)
            if match:
                stored.setdefault(int(match.group(1)), {})[match.group(2)] = key

        theirs = [
            n for n in sorted(stored)
            if 'weight' in stored[n] and state_dict[stored[n]['weight']].dim() == 4
        ]
        ours = [n for n, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        if len(theirs) > len(ours) and len(theirs) in accumulate(STAGE_CONVS[self.depth]):
            # stages that are not built here
            for n in [n for n in stored if n >= theirs[len(ours)]]:
                for key in stored.pop(n).values():
                    del state_dict[key]
            theirs = theirs[:len(ours)]
        if theirs == ours or not theirs:
            return
        if len(theirs) != len(ours):
            raise RuntimeError(
                f'The checkpoint has {len(theirs)} convolutions, VGG-{self.depth} has {len(ours)}: '
                'it belongs to another depth.')
        if set(stored) - set(theirs):
            raise RuntimeError(
                'The checkpoint has batch norm, this VGG has none: '
                "set norm_cfg=dict(type='BN') in the backbone.")
        tensors = [{name: state_dict.pop(key) for name, key in stored[n].items()} for n in theirs]
        for n, parameters in zip(ours, tensors):
            for name, tensor in parameters.items():
                state_dict[f'{prefix}features.{n}.{name}'] = tensor
