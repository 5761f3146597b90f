import random
from typing import Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptConfigType, OptMultiConfig, SampleList
from torch import Tensor

from mmseg_ext.ops.semantic_edge_features import one_hot
from mmseg_ext.ops.semantic_edges import semantic_edges


@MODELS.register_module()
class SemanticEdgeDetector(BaseSegmentor):
    """Trains a :class:`SemanticEdgeNet` to find the edges of label maps. It sees no image.

    The loss is the cross entropy against the semantic edges of the label map itself, the mean over
    all labelled pixels. A prediction is the map of edges, for ``SemanticEdgeMetric``.

    Source: Eq. 7 and Algorithm 1 of Chen, Dapogny, Cord, `SEMEDA: Enhancing Segmentation Precision
    with Semantic Edge Aware Loss <https://doi.org/10.1016/j.patcog.2020.107557>`_, 2020. The paper
    leaves the crops, the optimizer and the schedule open.

    Args:
        edge_net (dict): Config of the network; its type defaults to ``'SemanticEdgeNet'``.
        crop_size (int, optional): Side of the windows that are cut from each label map in training,
            anywhere: what the network has to know is in 7x7 pixels. Defaults to None: the whole
            map.
        num_crops (int): Windows of each label map, if they are cut. Defaults to 1.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        data_preprocessor (dict, optional): mmengine's ``BaseDataPreprocessor``, which moves label
            maps to the device, is enough; it is the default.
        init_cfg (dict | list[dict], optional): Initialization config.

    Note:
        Label maps come as ``gt_sem_seg`` of the data samples: the pipeline ``LoadAnnotations``,
        ``PackSegInputs`` is enough. Those of different sizes are padded with ``ignore_index``.
    """

    def __init__(self,
                 edge_net: ConfigType,
                 crop_size: Optional[int] = None,
                 num_crops: int = 1,
                 ignore_index: int = 255,
                 data_preprocessor: OptConfigType = None,
                 init_cfg: OptMultiConfig = None) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor or dict(type='mmengine.BaseDataPreprocessor'),
            init_cfg=init_cfg)
        self.edge_net = MODELS.build({'type': 'SemanticEdgeNet', **edge_net})
        self.crop_size = crop_size
        self.num_crops = num_crops
        self.ignore_index = ignore_index

    def forward(self,
                inputs: Optional[Tensor] = None,
                data_samples: Optional[SampleList] = None,
                mode: str = 'tensor'):
        """Call :meth:`loss`, :meth:`predict` or :meth:`_forward`.

        Args:
            inputs: Unused; there are no images.
            data_samples (list[:obj:`SegDataSample`]): Samples with ``gt_sem_seg``, (1, H, W).
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.
        """
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Optional[Tensor], data_samples: SampleList) -> Dict[str, Tensor]:
        """Compute the loss.

        Args:
            inputs: Unused.
            data_samples (list[:obj:`SegDataSample`]): Samples with ``gt_sem_seg``, (1, H, W).

        Returns:
            dict[str, Tensor]: ``loss_edge``, a scalar.
        """
        windows = self.windows([sample.gt_sem_seg.data[0] for sample in data_samples])
        return dict(loss_edge=self.edge_loss(windows))

    def edge_loss(self, labels: Tensor) -> Tensor:
        """Compute the loss of label maps.

        Args:
            labels (Tensor): (N, H, W).

        Returns:
            Tensor: A scalar; 0 with a gradient graph where no pixel has a label.
        """
        maps = one_hot(labels, self.edge_net.num_classes, self.ignore_index,
                       self.edge_net.convs[0].weight.dtype)
        before = self.edge_net(maps, activated=False)[-1]
        edges = semantic_edges(labels, self.ignore_index)
        valid = labels != self.ignore_index
        losses = F.cross_entropy(before, edges.long(), reduction='none')
        return (losses * valid).sum() / valid.sum().clamp(min=1)

    def predict(self, inputs: Optional[Tensor], data_samples: SampleList) -> SampleList:
        """Find the edges.

        Args:
            inputs: Unused.
            data_samples (list[:obj:`SegDataSample`]): Samples with ``gt_sem_seg``, (1, H, W).

        Returns:
            list[:obj:`SegDataSample`]: The samples, with ``pred_sem_seg`` (1, H, W), 1 at edges.
        """
        for sample in data_samples:
            edges = self._forward(inputs, [sample])[-1].argmax(dim=1)  # one by one: sizes differ
            sample.set_data(dict(pred_sem_seg=PixelData(data=edges)))
        return data_samples

    def _forward(self, inputs: Optional[Tensor], data_samples: SampleList) -> List[Tensor]:
        """Compute the features of all layers of the network."""
        maps = [sample.gt_sem_seg.data[0] for sample in data_samples]
        return self.edge_net(self.stack(maps), self.ignore_index)

    def windows(self, maps: Sequence[Tensor]) -> Tensor:
        """Cut windows of ``crop_size`` out of label maps, anywhere.

        Args:
            maps (Sequence[Tensor]): N label maps, (H, W).

        Returns:
            Tensor: (N * num_crops, crop_size, crop_size), smaller where all maps are; the maps if
            ``crop_size`` is None.
        """
        if self.crop_size is None:
            return self.stack(maps)
        return self.stack([random_window(labels, self.crop_size) for labels in maps
                           for _ in range(self.num_crops)])

    def stack(self, maps: Sequence[Tensor]) -> Tensor:
        """Stack label maps; smaller ones are padded at the end with ``ignore_index``.

        Args:
            maps (Sequence[Tensor]): Label maps, (H, W).

        Returns:
            Tensor: (N, H, W).
        """
        height, width = (max(labels.shape[dim] for labels in maps) for dim in (0, 1))
        return torch.stack([
            F.pad(labels, (0, width - labels.shape[1], 0, height - labels.shape[0]),
                  value=self.ignore_index) for labels in maps])

    def extract_feat(self, inputs: Tensor) -> Tuple[Tensor]:
        """Refuse: part of mmseg's interface, but there is no image.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('SemanticEdgeDetector sees label maps, no images.')

    encode_decode = extract_feat


def random_window(labels: Tensor, size: int) -> Tensor:
    """Cut a window out of a label map, anywhere.

    Args:
        labels (Tensor): (H, W).
        size (int): Side of the window, in pixels.

    Returns:
        Tensor: A view, (size, size), smaller where the map is.
    """
    height, width = (min(size, side) for side in labels.shape)
    top = random.randint(0, labels.shape[0] - height)
    left = random.randint(0, labels.shape[1] - width)
    return labels[top:top + height, left:left + width]
