import os
from typing import Dict, List, Optional, Sequence

import torch
import torch.nn as nn
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from mmseg.utils import OptMultiConfig
from torch import Tensor

from mmseg_ext.ops.semantic_edge_features import Layer, semantic_edge_features

#: Before the names of the network's weights in a checkpoint of ``SemanticEdgeDetector``.
PREFIX = 'edge_net.'


@MODELS.register_module()
class SemanticEdgeNet(BaseModule):
    """The network of SEMEDA: it finds the edges of a label map, and its features embed the map.

    Three 3x3 convolutions with ReLU between them and a softmax over "no edge" and "edge" at the
    end; 8,258 parameters for 21 classes. :class:`SemanticEdgeDetector` trains it, ``SEMEDALoss``
    compares two maps by its features. Nothing in it has a mode, it is the same in training and at
    test.

    Shapes: N images, C classes, L layers, D_l channels of layer l.

    Source: Chen, Dapogny, Cord, `SEMEDA: Enhancing Segmentation Precision with Semantic Edge Aware
    Loss <https://doi.org/10.1016/j.patcog.2020.107557>`_, 2020, Sec. 3.4. The paper leaves open
    what the network sees beyond the image and where no label is known; here all classes are 0 in
    both.

    Args:
        num_classes (int): C.
        channels (Sequence[int]): D of the layers before the last, which has 2. Defaults to
            (16, 32).
        init_cfg (dict | list[dict], optional): Initialization, if not Kaiming's.
            ``dict(type='Pretrained', checkpoint=FILE)`` reads a checkpoint of a detector, or what
            ``SemanticEdgeNetHook`` wrote.

    Raises:
        ValueError: If there is no class or a layer without channels.
    """

    def __init__(self,
                 num_classes: int,
                 channels: Sequence[int] = (16, 32),
                 init_cfg: OptMultiConfig = None) -> None:
        super().__init__(init_cfg=init_cfg)
        sizes = [num_classes, *channels, 2]
        if min(sizes) < 1:
            raise ValueError('SemanticEdgeNet num_classes and channels must be positive, got '
                             f'{num_classes} and {tuple(channels)}.')
        self.num_classes = num_classes
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(sizes, sizes[1:]))
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)

    @property
    def layers(self) -> List[Layer]:
        """list[tuple[Tensor, Tensor]]: Weight and bias of each layer, as the ops take them."""
        return [(conv.weight, conv.bias) for conv in self.convs]

    def forward(self,
                maps: Tensor,
                ignore_index: int = 255,
                activated: bool = True) -> List[Tensor]:
        """Compute the features of all layers.

        Args:
            maps (Tensor): Probabilities, (N, C, H, W), 0 at ignored pixels; or integer labels,
                (N, H, W).
            ignore_index (int): Label without a class. Defaults to 255.
            activated (bool): Whether the features are taken after ReLU and softmax. Defaults to
                True.

        Returns:
            list[Tensor]: (N, D_l, H, W) for each layer; the last has the probabilities of "no edge"
            and "edge".
        """
        return semantic_edge_features(maps, self.layers, ignore_index, activated)

    def init_weights(self) -> None:
        """Initialize, or read the weights if ``init_cfg`` says so."""
        pretrained = self.init_cfg if isinstance(self.init_cfg, dict) else {}
        if pretrained.get('type') == 'Pretrained':
            self.load(pretrained['checkpoint'], pretrained.get('prefix'))
        else:
            super().init_weights()

    def load(self, filename: str, prefix: Optional[str] = None) -> None:
        """Read the weights from a checkpoint.

        Args:
            filename (str): Path or URL.
            prefix (str, optional): What the names of the weights begin with in the file. Defaults
                to None: ``'edge_net.'`` or nothing, whichever is there.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no such network, or one of other sizes.
        """
        try:
            checkpoint = CheckpointLoader.load_checkpoint(filename, map_location='cpu')
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no semantic edge network '{filename}'. Train it by: python "
                'tools/train.py configs/semeda/edges_1xb8-2k_DATASET.py; or leave init_cfg out: '
                'SemanticEdgeNetHook then trains it at the start.') from None
        given = checkpoint.get('state_dict', checkpoint)
        if prefix is None:
            prefix = PREFIX if any(name.startswith(PREFIX) for name in given) else ''
        own = self.tensors()
        found = {name: given[prefix + name] for name in own if prefix + name in given}
        missing = [prefix + name for name in own if name not in found]
        if missing:
            raise ValueError(f"'{filename}' holds no semantic edge network of {len(self.convs)} "
                             f"layers: there is no '{missing[0]}'.")
        shapes = [[tuple(tensors[name].shape) for name in own if name.endswith('weight')]
                  for tensors in (found, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The semantic edge network in '{filename}' was made for {shapes[0][0][1]} classes "
                f'and has weights {shapes[0]}; with num_classes={self.num_classes} they must be '
                f'{shapes[1]}.')
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(found[name])

    def save(self, filename: str) -> None:
        """Write the weights as :class:`SemanticEdgeDetector` would.

        Args:
            filename (str): Path.
        """
        state_dict = {PREFIX + name: value.cpu() for name, value in self.tensors().items()}
        torch.save(dict(state_dict=state_dict), f'{filename}.part')
        os.replace(f'{filename}.part', filename)  # never half a file

    def tensors(self) -> Dict[str, Tensor]:
        """Weights by name, be they parameters or, once frozen, buffers."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def freeze(self) -> 'SemanticEdgeNet':
        """Turn the parameters into buffers that are not saved, and set eval mode.

        Then no optimizer gets them, no weight decay moves them and a checkpoint of a segmentation
        model is the same with the loss and without it.

        Returns:
            SemanticEdgeNet: Itself.
        """
        for conv in self.convs:
            for name in ('weight', 'bias'):
                value = getattr(conv, name).detach()
                delattr(conv, name)
                conv.register_buffer(name, value, persistent=False)
        return self.eval()
