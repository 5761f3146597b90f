from typing import Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, SampleList
from torch import Tensor

from mmseg_ext.models.losses.head_losses import losses_of
from mmseg_ext.ops import RegionSet, label_counts, region_to_pixel
from mmseg_ext.ops.region_geometry import MASK_RULES, to_device

FEATURES = ('separate', 'tied', 'region', 'box')


@MODELS.register_module()
class RegionHead(BaseDecodeHead):
    r"""Classify regions of any shape and size; each pixel takes the best of those that contain it.

    The features of a region are pooled from its own positions of the map and from its bounding box,
    three fully connected layers score them, and the region-to-pixel layer passes to each pixel,
    for each class, the highest score of its regions. The loss counts every pixel, so everything is
    trained end to end; it is evaluated once for each cell (superpixel), as all its pixels have the
    same scores.

    The regions come with the image, in ``metainfo['regions']`` of its data sample:
    ``GenerateRegions`` or ``LoadRegions`` and ``PackRegionInputs`` in the pipelines put them there.

    Shapes: N images, R regions, S cells of an image, C classes, D channels.

    Source: Caesar, Uijlings, Ferrari, `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_, ECCV 2016. Left open there and decided here: pixels in no
    region get the lowest score of their image (as in the released code); which positions of the map
    lie in a region (``mask_rule``); in Eq. 2 the label of a region is the most frequent one of its
    pixels, and regions without labels do not count; layers: the paper keeps VGG-16 "up to conv5",
    its released code the hidden fully connected layers too (our configs as well).

    Args:
        in_channels (int): D of the backbone's map.
        channels (int): Width of the two hidden layers. Defaults to 4096, as in VGG-16.
        num_classes (int): C.
        stride (int): Pixels per position of the backbone's map. Defaults to 16 (conv5 of VGG).
        features (str): Table 4 of the paper: ``'separate'`` (default): region and box,
            concatenated before the first layer; ``'tied'``: the same layers for both, scores
            added; ``'region'``; ``'box'``.
        roi_layer (dict): Config of the pooling. Its scale is set by the head.
        mask_rule (str): Which positions of the map lie in a region: ``'any'`` that it touches, or
            those that it covers by ``'half'`` (:func:`mmseg_ext.ops.region_geometry`). Defaults to
            ``'any'``. Heads trained before there was this option had ``'half'``.
        softmax_first (bool): Softmax of the regions' scores before the maximum (Eq. 1) instead of
            after it (Eq. 3). Defaults to False.
        region_loss (bool): Train to classify regions (Eq. 2) instead of pixels (Eq. 4). With
            ``softmax_first`` this is the paper's baseline. Defaults to False.
        decay (float): The released code's soft variant of the region-to-pixel layer, see
            :func:`mmseg_ext.ops.region_to_pixel`. Defaults to 0: the maximum.
        dropout_ratio (float): Dropout after both hidden layers. Defaults to 0.5.
        loss_decode (dict | list[dict]): Losses. Those with a method ``forward_cells``
            (``ClassWeightedCrossEntropyLoss``) are evaluated once per cell, others, and all
            together with a ``sampler``, at every pixel. Defaults to the mean over the labelled
            pixels of each image.
        init_cfg (dict | list[dict]): Initialization. The layers are called as in torchvision's VGG
            (``classifier.0``, ``.3``, ``.6``), so that
            ``dict(type='Pretrained', checkpoint='torchvision://vgg16')`` loads the hidden ones
            (separate weights start as two halves of them). Defaults to N(0, 0.01).
        kwargs: Other arguments of mmseg's ``BaseDecodeHead``: ``in_index``, ``sampler``,
            ``ignore_index``... ``norm_cfg`` puts a norm layer behind each hidden layer, which the
            paper does not have; its statistics are over all regions of the batch.
            ``conv_cfg``, ``act_cfg`` and ``align_corners`` have no effect.

    Raises:
        ValueError: If an argument is not one of the above.

    Note:
        What the head passes on are scores, or with ``softmax_first`` logarithms of the maxima of
        probabilities, whose classes do not sum to 1. A loss that is not evaluated per cell takes
        the softmax of these once more. A labelled pixel without a cell counts in such a loss
        alone.
    """

    def __init__(self,
                 in_channels: int,
                 channels: int = 4096,
                 *,
                 num_classes: int,
                 stride: int = 16,
                 features: str = 'separate',
                 roi_layer: dict = dict(type='FreeFormRoIPool', output_size=7),  # noqa: B006
                 mask_rule: str = 'any',
                 softmax_first: bool = False,
                 region_loss: bool = False,
                 decay: float = 0.0,
                 dropout_ratio: float = 0.5,
                 loss_decode: ConfigType = dict(  # noqa: B006
                     type='ClassWeightedCrossEntropyLoss', per_image=True),
                 init_cfg: ConfigType = dict(type='Normal', layer='Linear', std=0.01),  # noqa: B006
                 **kwargs) -> None:
        super().__init__(
            in_channels,
            channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            loss_decode=loss_decode,
            init_cfg=init_cfg,
            **kwargs)
        if features not in FEATURES:
            raise ValueError(f'RegionHead features must be one of {FEATURES}, got {features!r}.')
        if mask_rule not in MASK_RULES:
            raise ValueError(
                f'RegionHead mask_rule must be one of {MASK_RULES}, got {mask_rule!r}.')
        if not 0 <= decay <= 1:
            raise ValueError(f'RegionHead decay must be from 0 to 1, got {decay}.')
        if self.out_channels != num_classes:
            raise ValueError('RegionHead has one score for each class: out_channels must be '
                             f'num_classes, {num_classes}, got {self.out_channels}.')
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f'RegionHead stride must be a whole number from 1, got {stride}.')
        if softmax_first and decay > 0:
            raise ValueError('RegionHead: decay averages scores before the softmax, got '
                             f'decay={decay} with softmax_first=True.')
        self.loss_per_cell = self.sampler is None and all(
            hasattr(loss, 'forward_cells') for loss in losses_of(self))
        if region_loss and not self.loss_per_cell:
            raise ValueError('RegionHead region_loss=True needs losses that are evaluated per '
                             'region (ClassWeightedCrossEntropyLoss) and no sampler.')
        self.stride = stride
        self.features = features
        self.mask_rule = mask_rule
        self.softmax_first = softmax_first
        self.region_loss = region_loss
        self.decay = decay
        self.roi_layer = MODELS.build(roi_layer)
        height, width = self.roi_layer.output_size
        inputs = self.in_channels * height * width * (2 if features == 'separate' else 1)
        # Numbered as the classifier of torchvision's VGG; norm layers lie between the numbers.
        self.classifier = nn.Sequential()
        for number, width in ((0, inputs), (3, channels)):
            self.classifier.add_module(str(number), nn.Linear(width, channels))
            if self.norm_cfg is not None:
                self.classifier.add_module(f'norm{number}', _RegionNorm(self.norm_cfg, channels))
            self.classifier.add_module(str(number + 1), nn.ReLU(inplace=True))
            self.classifier.add_module(str(number + 2), nn.Dropout(dropout_ratio))
        self.classifier.add_module('6', nn.Linear(channels, num_classes))
        self.conv_seg = self.dropout = None

    def forward(self, inputs: Sequence[Tensor], regions: Optional[Sequence[RegionSet]] = None,
                size: Optional[Tuple[int, int]] = None) -> List[Tensor]:
        """Score the regions of each image.

        Args:
            inputs (Sequence[Tensor]): Maps of the backbone; the one of ``in_index`` is
                (N, D, h, w).
            regions (Sequence[RegionSet]): The regions of each image.
            size (tuple[int, int]): Height and width of the padded batch.

        Returns:
            list[Tensor]: Scores of each image's regions, (R, C).

        Raises:
            ValueError: If the map does not have the stride of the head, or there are no regions.
        """
        if regions is None:  # the model was called with mode='tensor'
            raise ValueError('RegionHead cannot do without the regions of the images: call the '
                             "model with mode='loss' or 'predict' and data samples.")
        maps = self._transform_inputs(inputs)
        grid = tuple(maps.shape[2:])
        if grid != tuple(-(-side // self.stride) for side in size):
            raise ValueError(
                f'RegionHead stride={self.stride} does not fit a map of {grid[0]}x{grid[1]} '
                f'positions of images of {size[0]}x{size[1]}: set stride to the stride of the '
                'map, which must round up (VGG does).')
        rois, masks, scale = self.roi_layer.locate(
            regions, grid, self.stride, mask_rule=self.mask_rule)
        rois, masks = (to_device(x, maps.device) for x in (rois, masks))
        scores = self._classify(maps, rois, masks, scale)
        return scores.split([each.num_regions for each in regions])

    def _classify(self, maps: Tensor, rois: Tensor, masks: Tensor, scale: float) -> Tensor:
        chosen = dict(region=[masks], box=[None]).get(self.features, [masks, None])
        pooled = [self.roi_layer(maps, rois, mask, scale).flatten(1) for mask in chosen]
        if self.features == 'separate':
            return self.classifier(torch.cat(pooled, dim=1))
        return sum(map(self.classifier, pooled))

    def _score(self, *args) -> List[Tensor]:
        """What the region-to-pixel layer takes of each image, (R, C), in float32 at least."""
        scores = self(*args)  # by a call: forward hooks may look at them
        scores = [each.to(torch.promote_types(each.dtype, torch.float32)) for each in scores]
        return [each.log_softmax(dim=1) for each in scores] if self.softmax_first else scores

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: SampleList,
             train_cfg: ConfigType) -> Dict[str, Tensor]:
        """Compute the losses and ``acc_seg``, in per cent.

        The samples have ``gt_sem_seg`` (1, H, W) and ``regions`` among their meta information.
        """
        labels = self._stack_batch_gt(batch_data_samples)
        size = tuple(labels.shape[2:])
        regions = _regions_of([sample.metainfo for sample in batch_data_samples])
        scores = self._score(inputs, regions, size)
        if not self.loss_per_cell:
            return self.loss_by_feat(self._to_pixels(scores, regions, size), batch_data_samples)

        counts = [label_counts(each, label[0], self.num_classes, self.ignore_index)
                  for each, label in zip(regions, labels)]
        if self.region_loss:
            counts, log_p = list(map(_region_labels, regions, counts)), scores
        else:
            log_p = list(map(self._to_cells, scores, regions))
        if self.region_loss or not self.softmax_first:
            log_p = [each.log_softmax(dim=1) for each in log_p]
        losses = {}
        for loss in losses_of(self):
            value = loss.forward_cells(log_p, counts)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        losses['acc_seg'] = _accuracy(log_p, counts)
        return losses

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: List[dict],
                test_cfg: ConfigType) -> Tensor:
        """Score the pixels of a batch.

        Args:
            inputs (Sequence[Tensor]): Maps of the backbone.
            batch_img_metas (list[dict]): Meta information with ``regions``.
            test_cfg (dict): Its mode must not be ``'slide'``.

        Returns:
            Tensor: (N, C, H, W), at the size of the images before they were resized, so that no
            score is interpolated between regions; if there is padding or these sizes differ, at the
            size of the padded batch.

        Raises:
            ValueError: If images are to be tested by a sliding window.
        """
        if test_cfg is not None and test_cfg.get('mode') == 'slide':
            raise ValueError("RegionHead cannot be tested with mode='slide', as the regions belong "
                             "to the whole image: set model.test_cfg.mode='whole'.")
        meta = batch_img_metas[0]
        size = tuple(meta.get('pad_shape', meta['img_shape'])[:2])
        regions = _regions_of(batch_img_metas)
        sizes = {tuple(meta.get('ori_shape', size)[:2]) for meta in batch_img_metas}
        padded = any(tuple(each.cells.shape) != size for each in regions)
        return self._to_pixels(self._score(inputs, regions, size), regions, size,
                               size if padded or len(sizes) > 1 else sizes.pop())

    def _to_cells(self, scores: Tensor, regions: RegionSet) -> Tensor:
        """(R, C) -> (S, C)."""
        # on the CPU, where the regions are: a GPU would be waited for
        index = (to_device(x, scores.device) for x in regions.transposed())
        return region_to_pixel(scores, *index, decay=self.decay)

    def _to_pixels(self,
                   scores: Sequence[Tensor],
                   regions: Sequence[RegionSet],
                   size: Tuple[int, int],
                   target: Optional[Tuple[int, int]] = None) -> Tensor:
        """N times (R, C) -> (N, C, H, W) of the padded size, or enlarged or reduced to another."""
        pixels = []
        for of_regions, image_regions in zip(scores, regions):
            values = self._to_cells(of_regions, image_regions)
            height, width = image_regions.cells.shape
            cells = F.pad(to_device(image_regions.cells, values.device).long(),
                          (0, size[1] - width, 0, size[0] - height), value=-1)
            lowest = of_regions.amin() if len(of_regions) else values.new_zeros(())
            if target is not None and target != size:
                rows, columns = map(_nearest, size, target)
                cells = cells[rows.to(cells.device)[:, None], columns.to(cells.device)]
            # row -1, the last, is for pixels without a cell
            values = torch.cat([values, lowest.expand(1, self.num_classes)])
            pixels.append(values[cells].permute(2, 0, 1))
        return torch.stack(pixels)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Start separate weights from the weights of one representation, such as VGG's.

        Halves, so that a region that fills its box has the score that it had with them.
        """
        name = f'{prefix}classifier.0.weight'
        columns = self.classifier[0].in_features
        if self.features == 'separate' and name in state_dict \
                and 2 * state_dict[name].size(1) == columns:
            state_dict[name] = state_dict[name].repeat(1, 2) / 2
        super()._load_from_state_dict(state_dict, prefix, *args)


class _RegionNorm(nn.Module):
    """Norm layer of mmcv over the features of regions, (R, channels)."""

    def __init__(self, norm_cfg: dict, channels: int) -> None:
        super().__init__()
        self.norm = build_norm_layer(norm_cfg, channels)[1]

    def forward(self, features: Tensor) -> Tensor:
        # a map of one position, which every norm layer takes; without regions it has no statistics
        return self.norm(features[:, :, None, None]).flatten(1) if len(features) else features


def _regions_of(metas: Sequence[dict]) -> List[RegionSet]:
    for meta in metas:
        if 'regions' not in meta:
            raise ValueError(
                'RegionHead found no regions with the image: the pipeline must have LoadRegions or '
                'GenerateRegions before it moves the image, and PackRegionInputs at its end.')
    return [meta['regions'] for meta in metas]


def _nearest(length: int, target: int) -> Tensor:
    """Where each of `target` pixels is among the `length` pixels that it was resized to.

    OpenCV's nearest neighbour of pixel x there is pixel floor(x * target / length) here. If it has
    enlarged, each pixel goes back to where it came from.
    """
    position = torch.arange(target) * length
    if length >= target:
        return (position + target - 1) // target
    return ((2 * position + target) // (2 * target)).clamp(max=length - 1)


def _region_labels(regions: RegionSet, counts: Tensor) -> Tensor:
    """One label for each region, its most frequent one: (R, C) of 0 and 1."""
    region, indices = (
        to_device(x, counts.device) for x in (regions.region_of_entry, regions.indices))
    total = counts.new_zeros(regions.num_regions, counts.size(1))
    total.index_add_(0, region, counts[indices])
    label = F.one_hot(total.argmax(dim=1), counts.size(1))
    return label * (total > 0).any(dim=1, keepdim=True)


def _accuracy(log_p: Sequence[Tensor], counts: Sequence[Tensor]) -> Tensor:
    """Share of the pixels whose label has the highest score, in per cent: (1,)."""
    counts = torch.cat(list(counts))
    right = counts.gather(1, torch.cat(list(log_p)).argmax(dim=1, keepdim=True)).sum()
    return 100 * right / counts.sum().clamp(min=1)[None]
