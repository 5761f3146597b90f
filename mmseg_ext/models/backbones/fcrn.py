from functools import partial
from typing import List, Sequence, Tuple

import torch.nn as nn
from mmseg.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from mmseg.registry import MODELS
from torch import Tensor

# Output stride -> strides and dilations of the four stages.
STAGES = {
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
}


@MODELS.register_module()
class FCRN(ResNet):
    """Fully convolutional residual network: a ResNet whose last maps stay large.

    Where the ResNet would halve its maps beyond ``output_stride``, the halving is left out and
    every convolution behind it is dilated instead (the hole algorithm): the same weights give the
    same values as in the ordinary network, and more of them in between. Global pooling and the
    ImageNet classifier are left out; :class:`FCRNHead` takes their place.

    Parameters carry the names of mmseg's and torchvision's ResNet, so
    ``init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')`` loads.

    Source: Wu, Shen, van den Hengel, "Bridging Category-level and Instance-level Semantic Image
    Segmentation", 2016, Sec. 2.3 and 3.1. The paper has dropout in "some of the residual blocks"
    (Sec. 1) and says neither where in a block nor at which rates. Both are taken from the authors'
    release of "Wider or Deeper" (2016): behind the block's last norm layer, before the addition, so
    that the identity is never dropped; single values, not channels. The paper's ResNets are
    Caffe's; ``style='caffe'`` takes those.

    Args:
        depth (int): 18, 34, 50, 101 or 152; the paper's are the last three.
        output_stride (int): Pixels per position of the last map: 8 (default) or 16.
        dropout (Sequence[float]): Rates of the last residual blocks, the last entry for the last
            block. Defaults to (0.3, 0.5), the rates of "Wider or Deeper"; () has none, as the
            paper's "vanilla" networks.
        style (str): Where a bottleneck block halves: ``'pytorch'`` (default) in its 3x3
            convolution, ``'caffe'`` in the 1x1 before it. It has to fit the weights.
        norm_cfg (dict): Norm layers. Defaults to batch norm whose scale and shift are not trained.
        norm_eval (bool): Whether batch norm always uses its stored statistics. Defaults to True;
            with the default of ``norm_cfg`` this is the paper's frozen batch norm.
        zero_init_residual (bool): Whether random initialization starts each block as the identity.
            Defaults to False: with frozen norm layers a block would stay one.
        kwargs: Other arguments of mmseg's ``ResNet``, such as ``base_channels``,
            ``stem_channels``, ``out_indices`` or ``with_cp``; not ``strides``, ``dilations`` and
            ``contract_dilation``, which follow from ``output_stride`` and ``style``.

    Raises:
        ValueError: If ``depth``, ``output_stride``, ``style`` or ``dropout`` is not one of the
            above.

    Note:
        Frozen batch norm is for pretrained weights. Let it train (``norm_cfg=dict(type='BN')``,
        ``norm_eval=False``) where the weights are random.

        mmseg's ``ResNet`` with dilations leaves the second convolution of a basic block (depth 18
        and 34) undilated. Here it is dilated, as the hole algorithm asks.
    """

    def __init__(self,
                 depth: int,
                 output_stride: int = 8,
                 dropout: Sequence[float] = (0.3, 0.5),
                 style: str = 'pytorch',
                 norm_cfg: dict = dict(type='BN', requires_grad=False),  # noqa: B006
                 norm_eval: bool = True,
                 zero_init_residual: bool = False,
                 **kwargs) -> None:
        if depth not in self.arch_settings:
            raise ValueError(
                f'FCRN depth must be one of {sorted(self.arch_settings)}, got {depth}.')
        if output_stride not in STAGES:
            raise ValueError(
                f'FCRN output_stride must be one of {sorted(STAGES)}, got {output_stride}.')
        if style not in ('pytorch', 'caffe'):
            raise ValueError(f"FCRN style must be 'pytorch' or 'caffe', got {style!r}.")
        block, stage_blocks = self.arch_settings[depth]
        if len(dropout) > sum(stage_blocks):
            raise ValueError(f'FCRN dropout has {len(dropout)} rates, but a network of depth '
                             f'{depth} has {sum(stage_blocks)} residual blocks.')
        if not all(0 <= rate < 1 for rate in dropout):
            raise ValueError(
                f'FCRN dropout rates must be at least 0 and below 1, got {tuple(dropout)}.')
        strides, dilations = STAGES[output_stride]
        super().__init__(
            depth,
            strides=strides,
            dilations=dilations,
            # The first 3x3 convolution of a dilated stage took part in the halving, unless a 1x1
            # before it did: its input is as dense as the input of the stage before.
            contract_dilation=block is BasicBlock or style == 'pytorch',
            style=style,
            norm_cfg=norm_cfg,
            norm_eval=norm_eval,
            zero_init_residual=zero_init_residual,
            **kwargs)
        self.output_stride = output_stride
        if block is BasicBlock:
            self._dilate_second_convolutions()
        self._add_dropout(dropout)

    def _blocks(self) -> List[nn.Module]:
        return [block for name in self.res_layers for block in getattr(self, name)]

    def _dilate_second_convolutions(self) -> None:
        for name, dilation in zip(self.res_layers, self.dilations):
            for block in getattr(self, name):
                block.conv2.dilation = block.conv2.padding = (dilation, dilation)

    def _add_dropout(self, rates: Sequence[float]) -> None:
        for block, rate in zip(reversed(self._blocks()), reversed(rates)):
            norm = block.norm3 if isinstance(block, Bottleneck) else block.norm2
            # A child of the block, not of its norm layer: ``norm_eval`` switches norm layers to
            # eval mode with all their children, and dropout would never drop.
            block.add_module('dropout', nn.Dropout(rate))
            # Not a closure: the copy of a network has to use the dropout of the copy.
            norm.register_forward_hook(partial(_drop_residual, block))


def _drop_residual(block: nn.Module, norm: nn.Module, inputs: Tuple[Tensor, ...],
                   output: Tensor) -> Tensor:
    return block.dropout(output)
