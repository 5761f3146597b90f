import logging
import warnings
from typing import Callable, Optional, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from mmseg.utils import OptConfigType
from torch import Tensor

from mmseg_ext.models.backbones.semantic_edge_net import SemanticEdgeNet
from mmseg_ext.ops.semantic_edge_distance import semantic_edge_distance
from mmseg_ext.ops.semantic_edges import semantic_edges

from .pixel_loss import PixelLoss


@MODELS.register_module()
class SEMEDALoss(PixelLoss):
    r"""Distance of prediction and ground truth in the features of a semantic edge network.

    .. math:: L = \sum_l \lambda_l \|\hat\psi_l - \psi_l^*\|_1

    It comes beside a cross entropy, in the list ``loss_decode`` of any head. The network is frozen:
    the gradient goes through the prediction alone. Optimizers, the ``state_dict`` and averages of
    the model (``EMAHook``) do not have its weights. ``init_cfg`` names a file of them. Without
    one, ``SemanticEdgeNetHook`` trains the network when training starts and stores it beside the
    run.

    Source: Eq. 4 to 6 of Chen, Dapogny, Cord, `SEMEDA: Enhancing Segmentation Precision with
    Semantic Edge Aware Loss <https://doi.org/10.1016/j.patcog.2020.107557>`_, 2020. The paper
    leaves open whether the norm is a sum or a mean and on which side of the ReLU the features are
    compared. Ours: a mean over channels and labelled pixels, after ReLU (after the softmax in the
    last layer). Ignored pixels are 0 in both maps.

    Args:
        num_classes (int, optional): C, channels of the logits. Defaults to None: the number of
            the head, which ``SemanticEdgeNetHook`` or the first call looks up.
        layer_weights (Sequence[float]): lambda, one for each layer. Defaults to (2, 4, 0), the
            paper's best on VOC; on Cityscapes it is (4, 2, 0).
        norm (str): ``'mean'`` over channels and valid pixels of the batch (default), or
            ``'sum'`` over both, as Eq. 5 is written, and the mean of the images.
        activated (bool): Whether features are compared after ReLU and softmax. Defaults to True.
        channels (Sequence[int]): Of the network's layers before the last. Defaults to (16, 32).
        class_agnostic (bool): Whether the network is one that cannot tell the classes apart inside
            a region, see :class:`SemanticEdgeNet`: then what counts are the edges. Ours; defaults
            to False, the paper's.
        band (int, optional): Only pixels within this Chebyshev distance of an edge of the ground
            truth (E*, both sides of a boundary) count; 0 is E* itself. The loss is divided as
            without a band. So lambda keeps its meaning, and the losses of the band and of the rest
            add up to the whole. Ours; defaults to None, all valid pixels, as in the paper.
        loss_weight (float): Factor of the loss. Defaults to 1.0.
        loss_name (str): Name in the log. Defaults to ``'loss_semeda'``.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=FILE)`` with a checkpoint
            of :class:`SemanticEdgeDetector`.

    Raises:
        ValueError: If an option is unknown, ``layer_weights`` has not one number for each layer,
            ``band`` is no width, or there is only one class: its probability is 1 for any logit.

    Note:
        The paper's Fig. 2 (problem b) has two predictions with one cross entropy; the first spreads
        its doubt over all other classes. Inside regions the loss prefers the first, as the paper
        wants it. At boundaries it prefers the first too, which the paper does not want.

        The loss is divided by the valid pixels, mmseg's cross entropy by all pixels unless it has
        ``avg_non_ignore=True``. Give it that: else the share of ignored pixels, padding among
        them, weakens the cross entropy alone.

        Valid pixels are counted per process, see :class:`PixelLoss`.
    """

    def __init__(self,
                 num_classes: Optional[int] = None,
                 layer_weights: Sequence[float] = (2., 4., 0.),
                 norm: str = 'mean',
                 activated: bool = True,
                 channels: Sequence[int] = (16, 32),
                 loss_weight: float = 1.0,
                 loss_name: str = 'loss_semeda',
                 init_cfg: OptConfigType = None,
                 class_agnostic: bool = False,
                 band: Optional[int] = None) -> None:
        super().__init__(loss_weight, loss_name)
        if norm not in ('mean', 'sum'):
            raise ValueError(f"SEMEDALoss norm must be 'mean' or 'sum', got {norm!r}.")
        if len(layer_weights) != len(channels) + 1:
            raise ValueError(f'SEMEDALoss layer_weights must have {len(channels) + 1} numbers, one '
                             f'for each layer, got {layer_weights}.')
        if band is not None and (type(band) is not int or band < 0):
            raise ValueError('SEMEDALoss band must be None or a width in pixels, 0 or more, got '
                             f'{band!r}.')
        self.layer_weights = tuple(map(float, layer_weights))
        self.norm = norm
        self.activated = activated
        self.channels = tuple(channels)
        self.class_agnostic = class_agnostic
        self.band = None if band is None else int(band)
        self.init_cfg = init_cfg
        #: The network; None as long as C is not known.
        self.edge_net: Optional[SemanticEdgeNet] = None
        #: Whether the network has its weights.
        self.is_ready = False
        if num_classes is not None:
            self.build_edge_net(num_classes)

    @property
    def divides_by(self) -> str:
        """What the sum over the pixels is divided by: the valid ones or, as a sum, the images."""
        return 'valid' if self.norm == 'mean' else 'images'

    def build_edge_net(self, num_classes: int) -> None:
        """Build the network, frozen.

        Args:
            num_classes (int): C, channels of the logits.

        Raises:
            ValueError: If there is only one class, or the network was built for another number.
        """
        if num_classes < 2:
            raise ValueError('SEMEDALoss needs a logit for each of at least 2 classes, got '
                             f'num_classes={num_classes}.')
        if self.edge_net is None:
            with torch.random.fork_rng(devices=[]):  # the other layers start as they would without
                net = SemanticEdgeNet(
                    num_classes, self.channels, self.init_cfg, self.class_agnostic).freeze()
            # Not as a submodule: a copy of the model that an average is made of (EMAHook) may be
            # taken before C is known, and pairs the buffers of both by position.
            self.__dict__['edge_net'] = net
        if self.edge_net.num_classes != num_classes:
            raise ValueError(f'SEMEDALoss has num_classes={self.edge_net.num_classes}, but the '
                             f'logits of its head have {num_classes} channels.')

    def init_weights(self) -> None:
        """Read the network's weights if ``init_cfg`` names them."""
        if self.init_cfg and self.edge_net is not None and not self.is_ready:
            self.edge_net.init_weights()
            self.is_ready = True

    def _apply(self, fn: Callable, *args, **kwargs) -> 'SEMEDALoss':
        """Move the network with the model: ``to``, ``cuda``, ``double``..."""
        if self.edge_net is not None:
            self.edge_net._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)

    def pixel_losses(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Give the distance at each pixel, (N, H, W)."""
        weight = self._near_edges(pred, target, ignore_index)
        return self._distance(pred, target, weight, ignore_index, 'none')

    def total(self, pred: Tensor, target: Tensor, weight: Optional[Tensor],
              ignore_index: int) -> Tensor:
        """Sum the distances without a map of them."""
        near = self._near_edges(pred, target, ignore_index)
        if near is not None:
            weight = near if weight is None else weight * near
        return self._distance(pred, target, weight, ignore_index, 'sum')

    def _near_edges(self, pred: Tensor, target: Tensor, ignore_index: int) -> Optional[Tensor]:
        if self.band is None:
            return None
        return near_edges(target, self.band, ignore_index).to(pred.dtype)

    def _distance(self, pred: Tensor, target: Tensor, weight: Optional[Tensor], ignore_index: int,
                  reduction: str) -> Tensor:
        self.build_edge_net(pred.size(1))
        if not self.is_ready:
            self._get_ready(pred)
        layers = self.edge_net.layers
        factors = self.layer_weights
        if self.norm == 'mean':
            factors = [factor / len(bias) for factor, (_, bias) in zip(factors, layers)]
        return semantic_edge_distance(
            pred,
            target,
            layers,
            factors,
            pixel_weight=weight,
            activated=self.activated,
            reduction=reduction,
            ignore_index=ignore_index)

    def _get_ready(self, pred: Tensor) -> None:
        """Read the weights at the first call: mmengine does not initialize losses in a list."""
        self.edge_net.to(pred.device)
        self.init_weights()
        if not self.is_ready:
            sentence = (
                'SEMEDALoss compares features of a network that was not trained. Add '
                "custom_hooks=[dict(type='SemanticEdgeNetHook')] to the config, which trains it "
                "when training starts, or name its checkpoint in the loss: init_cfg=dict("
                "type='Pretrained', checkpoint=FILE).")
            warnings.warn(sentence, stacklevel=2)
            # a warning is in no log file
            print_log(sentence, logger='current', level=logging.WARNING)
            self.is_ready = True


def near_edges(labels: Tensor, width: int, ignore_index: int) -> Tensor:
    """Find the pixels within a Chebyshev distance of `width` of an edge of the label map (N, H, W):
    bool.

    0 gives the edges, E*, alone. Ignored pixels near an edge are among them.
    """
    near = semantic_edges(labels, ignore_index)[:, None].float()
    for size in ((1, 2 * width + 1), (2 * width + 1, 1)):  # a square: along rows, then columns
        near = F.max_pool2d(near, size, stride=1, padding=(size[0] // 2, size[1] // 2))
    return near[:, 0] > 0
