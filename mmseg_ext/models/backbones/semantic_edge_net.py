import os
import warnings
from typing import Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from mmseg.utils import OptMultiConfig
from torch import Tensor

from mmseg_ext.ops.semantic_edge_features import Layer, semantic_edge_features
from mmseg_ext.tools import tool_command

#: Before the names of the network's weights in a checkpoint of ``SemanticEdgeDetector``.
PREFIX = 'edge_net.'
#: Name of the tensor that marks a class-agnostic network in a checkpoint.
FLAG = 'is_class_agnostic'


@MODELS.register_module()
class SemanticEdgeNet(BaseModule):
    """The network of SEMEDA: it finds the edges of a label map, and its features embed the map.

    Three 3x3 convolutions with ReLU between them and a softmax over "no edge" and "edge" at the
    end; 8,258 parameters for 21 classes. :class:`SemanticEdgeDetector` trains it, ``SEMEDALoss``
    compares two maps by its features. Nothing in it has a mode, it is the same in training and at
    test.

    With ``class_agnostic`` the network cannot tell one class from another inside a region: for each
    output channel of the first layer the kernels of all classes have the same sum over their 3x3
    taps, so a window of one class has the same features whichever class it is. Only edges are
    left. The network is ours, not the paper's.

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
        class_agnostic (bool): Whether the first layer's kernels are projected to equal sums,
            before each use and each saving. Defaults to False, as in the paper.

    Raises:
        ValueError: If there is no class or a layer without channels.

    Note:
        Beside an ignored pixel or the border of the image, where all classes are 0, classes differ
        in a class-agnostic network as well.
    """

    def __init__(self,
                 num_classes: int,
                 channels: Sequence[int] = (16, 32),
                 init_cfg: OptMultiConfig = None,
                 class_agnostic: bool = False) -> None:
        super().__init__(init_cfg=init_cfg)
        sizes = [num_classes, *channels, 2]
        if min(sizes) < 1:
            raise ValueError('SemanticEdgeNet num_classes and channels must be positive, got '
                             f'{num_classes} and {tuple(channels)}.')
        self.num_classes = num_classes
        #: Names of the classes, once a file or a hook has told them.
        self.classes: Optional[Tuple[str, ...]] = None
        #: Where the weights were read from.
        self.source: Optional[str] = None
        self.class_agnostic = class_agnostic
        if class_agnostic:  # in checkpoints; the usual network's stay as they were
            self.register_buffer(FLAG, torch.tensor(True))
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(sizes, sizes[1:]))
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.project()

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
        self.project()
        return semantic_edge_features(maps, self.layers, ignore_index, activated)

    def project(self) -> None:
        """Make the kernels of all classes sum to the same, in a class-agnostic network.

        What a class's kernel has in excess of the mean over the classes is taken from its 9 taps in
        equal parts: the nearest weights that fulfil the condition. It is called before each use and
        each saving, so any optimizer may have moved the weights, in any wrapper. A second call
        changes nothing, as sums that are equal up to rounding are left alone.
        """
        weight = self.convs[0].weight
        if not (self.class_agnostic and isinstance(weight, nn.Parameter)):  # a frozen one is done
            return
        exact = weight.detach().cpu().double()
        sums = exact.sum(dim=(2, 3))  # (D_1, C)
        excess = sums - sums.mean(dim=1, keepdim=True)
        # rounding moves a sum by at most eps / 2 times the size of the taps, and the mean as well
        size = exact.abs().sum(dim=(2, 3)).amax(dim=1, keepdim=True)
        wrong = (excess.abs() > 2 * torch.finfo(weight.dtype).eps * size).any(dim=1)
        if wrong.any():
            exact[wrong] -= excess[wrong][..., None, None] / 9
            with torch.no_grad():
                weight.copy_(exact)

    def state_dict(self, *args, **kwargs) -> Dict[str, Tensor]:
        """Give the weights, projected (arguments as ``nn.Module``)."""
        self.project()
        return super().state_dict(*args, **kwargs)

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
            ValueError: See :meth:`read`.
        """
        try:
            checkpoint = CheckpointLoader.load_checkpoint(filename, map_location='cpu')
        except FileNotFoundError:
            raise FileNotFoundError(
                f"There is no semantic edge network '{filename}'. Train it by: "
                f"{tool_command('train.py', 'configs/semeda/edges_1xb8-2k_DATASET.py')}; or leave "
                'init_cfg out: SemanticEdgeNetHook then trains it at the start.') from None
        self.read(checkpoint, filename, prefix)

    def read(self, checkpoint: dict, source: str, prefix: Optional[str] = None) -> None:
        """Take the weights and the names of the classes from the content of a checkpoint.

        Args:
            checkpoint (dict): Weights by name, or a dict with these as ``'state_dict'`` and, in
                ``['meta']['dataset_meta']['classes']``, the names.
            source (str): What messages call it, such as the path.
            prefix (str, optional): As of :meth:`load`.

        Raises:
            ValueError: If it holds no such network, one of other sizes, one for other classes or
                for the same in another order, or one that is class-agnostic where this is not.

        Note:
            A checkpoint without names of classes, as older versions wrote it, is read with a
            warning.
        """
        given = checkpoint.get('state_dict', checkpoint)
        if prefix is None:
            prefix = PREFIX if any(name.startswith(PREFIX) for name in given) else ''
        own = self.tensors()
        found = {name: given[prefix + name] for name in own if prefix + name in given}
        missing = [prefix + name for name in own if name not in found]
        if missing:
            raise ValueError(f"'{source}' holds no semantic edge network of {len(self.convs)} "
                             f"layers: there is no '{missing[0]}'.")
        shapes = [[tuple(tensors[name].shape) for name in own if name.endswith('weight')]
                  for tensors in (found, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"The semantic edge network in '{source}' was made for {shapes[0][0][1]} classes "
                f'and has weights {shapes[0]}; with num_classes={self.num_classes} they must be '
                f'{shapes[1]}.')
        class_agnostic = prefix + FLAG in given
        if class_agnostic != self.class_agnostic:
            raise ValueError(
                f"The semantic edge network in '{source}' was trained with class_agnostic="
                f'{class_agnostic}, but class_agnostic={self.class_agnostic} is asked for: set '
                'this in the loss as it is in the file, or let the file be made anew.')
        names = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        self._learn_classes(names.get('classes'), source)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(found[name])
        self.source = source

    def _learn_classes(self, names: Optional[Sequence[str]], source: str) -> None:
        if names is None:
            warnings.warn(f"'{source}' does not tell the classes that its semantic edge network "
                          'was made for: see that they are those of your data set, in the same '
                          'order.', stacklevel=4)
        elif self.classes is None:
            self.classes = tuple(names)
        else:
            _check_same(tuple(names), self.classes, source)

    def expect_classes(self, names: Sequence[str]) -> None:
        """Tell the network the classes of the data set.

        Args:
            names (Sequence[str]): In the order of the labels.

        Raises:
            ValueError: If the file that the weights were read from has others, or another order.
        """
        if self.classes is not None:
            _check_same(self.classes, tuple(names), self.source)
        elif len(names) != self.num_classes:
            warnings.warn(f'The data set has {len(names)} classes, the semantic edge network '
                          f'{self.num_classes}: see that num_classes of the head is right.',
                          stacklevel=3)
        self.classes = tuple(names)

    def content(self) -> dict:
        """Give the weights and the names of the classes as a checkpoint holds them.

        Returns:
            dict: ``state_dict``, with the names of a :class:`SemanticEdgeDetector`, and ``meta``.
        """
        self.project()
        tensors = self.tensors()
        if self.class_agnostic:
            tensors[FLAG] = getattr(self, FLAG)
        state_dict = {PREFIX + name: value.detach().cpu().clone()
                      for name, value in tensors.items()}
        meta = {} if self.classes is None else dict(dataset_meta=dict(classes=self.classes))
        return dict(meta=meta, state_dict=state_dict)

    def save(self, filename: str) -> None:
        """Write :meth:`content` to a file.

        Args:
            filename (str): Path.
        """
        torch.save(self.content(), f'{filename}.part')
        os.replace(f'{filename}.part', filename)  # never half a file

    def same_weights(self, checkpoint: dict) -> bool:
        """Say whether a checkpoint (what :meth:`content` gives) holds the same weights, bit by bit.
        """
        own, given = self.content()['state_dict'], checkpoint['state_dict']
        return own.keys() == given.keys() and all(
            torch.equal(value, given[name].cpu()) for name, value in own.items())

    def tensors(self) -> Dict[str, Tensor]:
        """Weights by name, be they parameters or, once frozen, buffers."""
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {name: value for name, value in tensors.items() if name != FLAG}

    def freeze(self) -> 'SemanticEdgeNet':
        """Turn the parameters into buffers that are not saved, and set eval mode; gives the network
        itself.

        Then no optimizer gets them, no weight decay moves them and a checkpoint of a segmentation
        model is the same with the loss and without it.
        """
        self.project()
        if self.class_agnostic:
            self.register_buffer(FLAG, getattr(self, FLAG), persistent=False)
        for conv in self.convs:
            for name in ('weight', 'bias'):
                value = getattr(conv, name).detach()
                delattr(conv, name)
                conv.register_buffer(name, value, persistent=False)
        return self.eval()


def _check_same(given: Tuple[str, ...], wanted: Tuple[str, ...], source: Optional[str]) -> None:
    if given == wanted:
        return
    if len(given) != len(wanted):
        difference = f'there are {len(given)} of them, the data set has {len(wanted)}'
    else:
        at = next(i for i, (a, b) in enumerate(zip(given, wanted)) if a != b)
        difference = f'class {at} is {given[at]!r} there and {wanted[at]!r} in the data set'
    raise ValueError(
        f"The semantic edge network in '{source}' was made for other classes or another order of "
        f'them: {difference}. Name or leave another file; without one, SemanticEdgeNetHook trains '
        'a network for the classes of the data set.')
