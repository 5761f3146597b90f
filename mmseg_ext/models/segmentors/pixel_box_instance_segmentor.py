import os
import re
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.structures import InstanceData, PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import ConfigType, OptConfigType, OptMultiConfig, OptSampleList, SampleList
from torch import Tensor, nn

from mmseg_ext.models.decode_heads import LocalizationHead
from mmseg_ext.ops import logits_to_instances, pixel_instances
from mmseg_ext.ops.pixel_instances import top_classes
from mmseg_ext.tools import tool_command

Images = Union[Tensor, Sequence[Tensor]]


@MODELS.register_module()
class PixelBoxInstanceSegmentor(BaseSegmentor):
    """Instances from two networks: one labels the pixels, the other says where their instance is.

    Both are segmentors of mmseg, and each is trained on its own. Training this model trains the
    localization network. Without ``semantic`` the labels of the data set take the place of the
    semantic network's (the pilot experiment of Sec. 3.2), so a localization network can be
    validated alone; scores then rise with the distance to the next class, which the paper leaves
    open. A config that adds ``semantic`` is tested with the checkpoint of that training:

    .. code-block:: python

        _base_ = './localization.py'  # its model has the type PixelBoxInstanceSegmentor
        weights = dict(type='Pretrained', checkpoint='work_dirs/semantic/iter_800.pth')
        model = dict(semantic=dict(_base_.semantic, init_cfg=weights))

    A test gives each sample ``pred_instances`` with ``masks`` (Q, H, W) bool, ``labels``,
    ``scores`` and ``bboxes`` at the size of the original image, for ``RegionAPMetric``, and
    ``pred_sem_seg`` of the semantic network. How they are found: :func:`pixel_instances`.

    Source: Wu, Shen, van den Hengel, `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_, Sec. 2.1.

    Args:
        localization (dict): Config of a segmentor whose decode head is a ``LocalizationHead``.
        semantic (dict, optional): Config of a segmentor with as many classes. Its ``init_cfg``
            names its checkpoint, which is read at the first prediction. Defaults to None: true
            labels.
        top_n (int): Masks of each class; the k-th has the pixels for which it is among their k
            highest scores. Defaults to 2.
        min_score (float): Pixels with a lower probability for a class are not looked at. Defaults
            to 0.05.
        iou_thr (float): A pixel joins the first box with a higher IoU. Defaults to 0.3.
        min_size (int): Least number of pixels of an instance. Defaults to 50.
        region_iou (float | str): An instance with a higher mask IoU with a better one of its class
            is suppressed. Defaults to 0.3; ``'any'``: any overlap suppresses, as in SDS.
        max_instances (int): Number of instances of an image at most. Defaults to 100.
        data_preprocessor (dict, optional): Has no effect, as each network has one of its own.
            mmengine gives the one at the top of a config.
        init_cfg (dict | list[dict], optional): Initialization config.

    Raises:
        ValueError: If an argument is not one of these; in a test, if the checkpoint of ``semantic``
            does not fit, or there are neither labels nor a semantic network.
        FileNotFoundError: In a test, if there is no such checkpoint.

    Note:
        The semantic network is frozen, and no part of this model's checkpoints. The paper names
        none of the numbers. The background counts in the ranks. Boxes are those of the pixels that
        were kept. They are moved to the original image without interpolation, as the mean of two
        instances' boxes is the box of neither. There is no test-time augmentation.
    """

    def __init__(self,
                 localization: ConfigType,
                 semantic: OptConfigType = None,
                 top_n: int = 2,
                 min_score: float = 0.05,
                 iou_thr: float = 0.3,
                 min_size: int = 50,
                 region_iou: Union[float, str] = 0.3,
                 max_instances: int = 100,
                 data_preprocessor: OptConfigType = None,
                 init_cfg: OptMultiConfig = None) -> None:
        # not the one that is given: images would be normalized twice
        super().__init__(
            data_preprocessor=dict(type='mmengine.BaseDataPreprocessor'), init_cfg=init_cfg)
        self.localization = MODELS.build(localization)
        head = getattr(self.localization, 'decode_head', None)
        if not isinstance(head, LocalizationHead):
            raise ValueError('PixelBoxInstanceSegmentor localization needs a LocalizationHead as '
                             f'decode_head, got {type(head).__name__}.')
        if (self.localization.test_cfg or {}).get('mode') == 'slide':
            raise ValueError("PixelBoxInstanceSegmentor localization cannot have mode='slide' in "
                             "test_cfg, as its boxes belong to the whole image: set mode='whole'.")
        # Not a submodule: it has a checkpoint of its own.
        self._semantic: Tuple[nn.Module, ...] = ()
        self._is_ready = False
        if semantic is not None:
            self._semantic = (self._build_semantic(semantic, head.num_classes), )
        self.num_classes = head.num_classes
        #: Whether a prediction has ``votes`` (1, H, W): the scores of the pixels, each moved to the
        #: centre of its box. ``InstanceVisualizationHook`` sets it.
        self.keeps_votes = False
        self.top_n, self.min_score = top_n, min_score
        background = [c for c in range(head.num_classes) if c not in head.classes]
        self.post_processing = dict(
            background=background, iou_thr=iou_thr, min_size=min_size, region_iou=region_iou,
            max_instances=max_instances)
        # refuses numbers out of their range now, and not in the first test
        logits_to_instances(torch.zeros(2, 1, 1), lambda label: torch.zeros(4, 1, 1), top_n=top_n,
                            min_score=min_score, **self.post_processing)

    @property
    def semantic(self) -> Optional[nn.Module]:
        """The semantic network, None where true labels take its place."""
        return self._semantic[0] if self._semantic else None

    @staticmethod
    def _build_semantic(semantic: ConfigType, num_classes: int) -> nn.Module:
        """Build the semantic network, frozen; its checkpoint is not read yet."""
        init_cfg = semantic.get('init_cfg') or {}
        if init_cfg.get('type') != 'Pretrained' or init_cfg.get('prefix'):
            raise ValueError(
                "PixelBoxInstanceSegmentor semantic needs init_cfg=dict(type='Pretrained', "
                f'checkpoint=FILE) with its own checkpoint, got {init_cfg}.')
        with torch.random.fork_rng(devices=[]):  # the rest starts as it would without
            network = MODELS.build(semantic)
        if getattr(network, 'num_classes', num_classes) != num_classes:
            raise ValueError(
                f'PixelBoxInstanceSegmentor: semantic has {network.num_classes} classes and '
                f'localization {num_classes}; both count all labels, the background too.')
        return network.requires_grad_(False).eval()

    def load_semantic(self) -> None:
        """Read the checkpoint of the semantic network, unless that was done."""
        if self._is_ready or self.semantic is None:
            return
        path = self.semantic.init_cfg['checkpoint']
        if '://' not in path and not os.path.isfile(path):
            raise FileNotFoundError(
                f'the checkpoint of the semantic network, {path}, does not exist; make it by '
                f"{tool_command('train.py', 'CONFIG')} with the config of that network, or name "
                'another one: --cfg-options model.semantic.init_cfg.checkpoint=FILE')
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
        given = {re.sub(r'^module\.', '', name): value
                 for name, value in checkpoint.get('state_dict', checkpoint).items()}
        own = self.semantic.state_dict()
        wrong = [name for name in {**own, **given}
                 if not name.endswith('num_batches_tracked')
                 and getattr(own.get(name), 'shape', None) != getattr(
                     given.get(name), 'shape', None)]
        if wrong:
            raise ValueError(
                f'{path} is no checkpoint of the semantic network: {len(wrong)} parameters are '
                f'missing, unexpected or of another shape (such as {wrong[0]}).')
        self.semantic.load_state_dict(given, strict=False)
        self._is_ready = True

    def loss(self, inputs: Images, data_samples: SampleList) -> Dict[str, Tensor]:
        """Compute the losses of the localization network.

        Args:
            inputs (Sequence[Tensor]): Images as loaded, (3, H, W) each.
            data_samples (list[:obj:`SegDataSample`]): Samples with ``gt_sem_seg`` and
                ``gt_instances``.

        Returns:
            dict[str, Tensor]: Scalars.
        """
        data = self.localization.data_preprocessor(
            dict(inputs=list(inputs), data_samples=data_samples), training=True)
        return self.localization.loss(**data)

    def predict(self, inputs: Images, data_samples: OptSampleList = None) -> SampleList:
        """Find the instances of images.

        Args:
            inputs (Sequence[Tensor]): Images as loaded, (3, H, W) each.
            data_samples (list[:obj:`SegDataSample`], optional): Samples to fill. Without a semantic
                network they have ``gt_sem_seg`` at the size of the original image.

        Returns:
            list[:obj:`SegDataSample`]: With ``pred_instances`` and, from a semantic network,
            ``pred_sem_seg``.
        """
        if data_samples is None:
            sizes = [dict(img_shape=x.shape[1:], ori_shape=x.shape[1:]) for x in inputs]
            data_samples = [SegDataSample(metainfo=size) for size in sizes]
        logits = self._class_logits(inputs, data_samples)
        data = self._prepare(self.localization, inputs, data_samples)
        maps = self.localization.decode_head(self.localization.extract_feat(data['inputs']))
        for i, sample in enumerate(data_samples):
            meta = dict(data['data_samples'][i].metainfo, pad_shape=data['inputs'].shape[2:])

            def boxes(label: int, one: Tensor = maps[i:i + 1], meta: dict = meta) -> Tensor:
                found = self.localization.decode_head.predict_by_feat(one, [meta], [label])
                return boxes_of_original(found[0, 0], meta)

            if logits:
                found = logits_to_instances(logits[i], boxes, top_n=self.top_n,
                                            min_score=self.min_score, **self.post_processing)
            else:
                found = pixel_instances(
                    *self._true_classes(sample), boxes, **self.post_processing)
            if self.keeps_votes:
                ranked = top_classes(logits[i], 1, self.min_score) if logits else (
                    self._true_classes(sample))
                sample.votes = PixelData(data=moved_scores(
                    ranked[0][0], ranked[1][0], boxes, self.localization.decode_head.classes)[None])
            sample.pred_instances = InstanceData(
                masks=found.masks, labels=found.labels, scores=found.scores, bboxes=found.boxes)
        return data_samples

    def _class_logits(self, inputs: Images, data_samples: SampleList) -> List[Tensor]:
        """Predict logits of the pixels, (C, H, W) for each image; none without a semantic
        network.
        """
        if self.semantic is None:
            return []
        self.load_semantic()
        self.semantic.to(inputs[0].device)
        data = self._prepare(self.semantic, inputs, data_samples)
        results = self.semantic.predict(**data)
        for sample, result in zip(data_samples, results):
            sample.pred_sem_seg = result.pred_sem_seg
        return [result.seg_logits.data for result in results]

    def _true_classes(self, sample: SegDataSample) -> Tuple[Tensor, Tensor]:
        if 'gt_sem_seg' not in sample:
            raise ValueError(
                'PixelBoxInstanceSegmentor has no semantic network and the image no labels: name '
                'the network in model.semantic, or load the labels in the test pipeline.')
        labels = sample.gt_sem_seg.data
        known = (labels >= 0) & (labels < self.num_classes)
        classes = labels.long().masked_fill(~known, -1)
        return classes, scores_of_true_labels(classes)

    @staticmethod
    def _prepare(network: nn.Module, inputs: Images, data_samples: SampleList) -> dict:
        """Normalize and pad as a network's own preprocessor does."""
        # it copies the samples, so they do not keep the padding of one of the networks
        return network.data_preprocessor(
            dict(inputs=list(inputs), data_samples=data_samples), False)

    def _forward(self, inputs: Images, data_samples: OptSampleList = None) -> Tensor:
        """Compute the maps of the localization network, (N, 4 F, h, w)."""
        samples = data_samples or [SegDataSample() for _ in inputs]
        return self.localization._forward(
            self._prepare(self.localization, inputs, samples)['inputs'])

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Compute the features of the localization network from normalized images."""
        return self.localization.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: List[dict]) -> Tensor:
        """Refuse: part of mmseg's interface, but there are two networks.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('PixelBoxInstanceSegmentor predicts instances: call predict.')


def scores_of_true_labels(classes: Tensor) -> Tensor:
    """Score pixels by how far inside of their class they lie, as a network is surest there.

    With equal scores clustering would begin at the first pixel in reading order, on the boundary,
    where boxes are predicted worst.

    Args:
        classes (Tensor): (1, H, W) integers.

    Returns:
        Tensor: 1 - 1 / (1 + d), (1, H, W) float32, where the nearest pixel of another class is d
        pixels away.
    """
    distance = np.zeros(classes.shape[1:], np.float32)
    for label in classes.unique().tolist():
        distance += cv2.distanceTransform(
            (classes[0] == label).byte().cpu().numpy(), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return 1 - 1 / (1 + torch.from_numpy(distance).to(classes.device))[None]


def moved_scores(classes: Tensor, scores: Tensor, boxes: Callable[[int], Tensor],
                 wanted: Sequence[int]) -> Tensor:
    """Move the score of each pixel to the centre of the box that it predicts.

    Args:
        classes (Tensor): Classes of the pixels, (H, W).
        scores (Tensor): (H, W).
        boxes (Callable): Gives the boxes of the pixels for a class, (4, H, W).
        wanted (Sequence[int]): Classes whose pixels are moved.

    Returns:
        Tensor: Sum of the scores at each pixel, (H, W); what leaves the image is lost.
    """
    votes = torch.zeros_like(scores)
    height, width = votes.shape
    for label in wanted:
        inside = classes == label
        if inside.any():
            x1, y1, x2, y2 = boxes(label)[:, inside]
            x, y = ((x1 + x2) / 2).floor().long(), ((y1 + y2) / 2).floor().long()
            there = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            votes.index_put_((y[there], x[there]), scores[inside][there], accumulate=True)
    return votes


def boxes_of_original(boxes: Tensor, meta: dict) -> Tensor:
    """Move the boxes of the pixels of a padded, flipped, resized image to the original one.

    Args:
        boxes (Tensor): x1, y1, x2, y2 in pixels of the network's input, (4, H, W).
        meta (dict): Meta information of the image: ``ori_shape``, ``img_padding_size`` or
            ``padding_size`` (left, right, top, bottom), ``flip`` and ``flip_direction``.

    Returns:
        Tensor: In pixels of the original image, (4, *ori_shape). A pixel has the box of the nearest
        pixel of the input.
    """
    left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
    height, width = boxes.shape[1:]
    boxes = boxes[:, top:height - bottom, left:width - right]
    boxes = boxes - boxes.new_tensor([left, top, left, top]).view(4, 1, 1)
    height, width = boxes.shape[1:]
    if meta.get('flip'):
        x1, y1, x2, y2 = boxes
        if meta['flip_direction'] == 'horizontal':
            boxes = torch.stack([width - x2, y1, width - x1, y2]).flip(2)
        else:
            boxes = torch.stack([x1, height - y2, x2, height - y1]).flip(1)
    size = tuple(meta.get('ori_shape', (height, width)))[:2]
    if size == (height, width):
        return boxes
    down, right = (new / old for new, old in zip(size, (height, width)))
    boxes = F.interpolate(boxes[None], size=size, mode='nearest-exact')[0]
    return boxes * boxes.new_tensor([right, down, right, down]).view(4, 1, 1)
