from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmseg.models.utils import resize
from mmseg.registry import MODELS, TASK_UTILS
from mmseg.utils import ConfigType, SampleList
from torch import Tensor

from mmseg_ext.models.box_coders.pixel_boxes import PixelBoxes, instance_boxes, paired_iou
from mmseg_ext.models.losses import LocalizationLoss
from mmseg_ext.models.losses.head_losses import losses_of
from mmseg_ext.models.samplers import IoUBootstrapSampler
from mmseg_ext.ops.checks import check_labels

from .fcrn_head import FCRNHead, sample_labels


@MODELS.register_module()
class LocalizationHead(FCRNHead):
    """Regresses, at every pixel and for each class with instances, the box of the pixel's instance.

    Four numbers for each class: the offset from the pixel to the centre of the box, and the box's
    width and height, as ``box_coder`` says. In training only those of the pixel's own class count,
    and only where the pixel belongs to an instance.

    The instances come in ``gt_instances`` of the data samples: ``PascalVOCInstanceDataset`` with
    ``LoadInstanceAnnotations``, or ``ScenesDataset``, and ``PackInstanceInputs`` put them there.

    Shapes: N images, F classes with instances, D channels, s pixels per position of the backbone's
    map.

    Source: Wu, Shen, van den Hengel, `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_, Sec. 2.1 and 2.3: the localization network is
    an FCRN of its own, with 80 channels for the 20 classes of VOC.

    Args:
        in_channels (int): D.
        num_classes (int): Number of labels, with background, as in mmseg: 21 for VOC.
        background (int | Sequence[int], optional): Labels that have no instances; the others are
            the F classes. Defaults to 0, as in VOC; None: every label has instances.
        box_coder (dict): Config of what the four numbers are. Defaults to
            :class:`PixelBoxCoder`: offsets in units of 32 pixels, logarithms of the sides.
        loss_decode (dict | list[dict]): One ``LocalizationLoss``, the default, or several.
        sampler (dict, optional): ``IoUBootstrapSampler``. Defaults to None: all pixels of
            instances.
        kwargs: Arguments of :class:`FCRNHead`. ``label_stride=s`` computes the loss on the grid of
            positions, as the paper's training in Caffe does.

    Raises:
        ValueError: If an argument is not one of the above; in training, if a sample has no
            instances or they do not have the size of the labels.

    Note:
        Valid pixels belong to an instance and have the label of a class with instances. All pixels
        of an instance count in its box. Boxes are those of the instances as the pipeline has moved
        them: a cropped instance has a cropped box. They are found at full resolution, with
        ``label_stride`` too. Pixels are measured as in :class:`PixelBoxCoder`. The log has
        ``iou_box``, the mean IoU of predicted and true boxes over the valid pixels in per cent, in
        place of ``acc_seg``.
    """

    def __init__(self,
                 in_channels: int,
                 *,
                 num_classes: int,
                 background: Optional[Union[int, Sequence[int]]] = 0,
                 box_coder: ConfigType = dict(type='PixelBoxCoder'),  # noqa: B006
                 loss_decode: ConfigType = dict(type='LocalizationLoss'),  # noqa: B006
                 **kwargs) -> None:
        super().__init__(
            in_channels, num_classes=num_classes, loss_decode=loss_decode, **kwargs)
        without = {background} if isinstance(background, int) else set(background or ())
        if not without < set(range(num_classes)):
            raise ValueError(
                f'LocalizationHead background must be among the labels 0 to {num_classes - 1}, and '
                f'leave one that has instances, got {background!r}.')
        for part, kind in (*((loss, LocalizationLoss) for loss in losses_of(self)),
                           (self.sampler, (IoUBootstrapSampler, type(None)))):
            if not isinstance(part, kind):
                raise ValueError(
                    'LocalizationHead needs losses and a sampler that compare boxes '
                    f'(LocalizationLoss, IoUBootstrapSampler), got {type(part).__name__}.')
        self.classes = [label for label in range(num_classes) if label not in without]
        self.box_coder = TASK_UTILS.build(box_coder)
        # the channels of each label, or -1
        rows = torch.full((num_classes, ), -1)
        rows[self.classes] = torch.arange(len(self.classes))
        self.register_buffer('rows', rows, persistent=False)
        self.out_channels = 4 * len(self.classes)
        conv = self.conv_seg
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, conv.kernel_size,
                                  dilation=conv.dilation, padding=conv.padding)

    def loss_by_feat(self, seg_logits: Tensor,
                     batch_data_samples: SampleList) -> Dict[str, Tensor]:
        """Compute the losses and ``iou_box``, on the grid of positions or at full resolution.

        Args:
            seg_logits (Tensor): What :meth:`forward` gives, (N, 4 F, h, w).
            batch_data_samples (list[:obj:`SegDataSample`]): Samples with ``gt_sem_seg`` and
                ``gt_instances``, (1, H, W) each.

        Returns:
            dict[str, Tensor]: Scalars.

        Raises:
            ValueError: If ``label_stride`` is not the stride of the backbone's map, or the samples
                are not as described.
        """
        self.check_grid(seg_logits, batch_data_samples[0].gt_sem_seg.data.shape[-2:])
        target, rows = self.pixel_boxes(batch_data_samples)
        transforms = resize(
            seg_logits, size=rows.shape[1:], mode='bilinear', align_corners=self.align_corners)
        index = rows[:, None, None].expand(-1, 1, 4, -1, -1)
        own = transforms.unflatten(1, (-1, 4)).gather(1, index).squeeze(1)
        weight = None if self.sampler is None else self.sampler.sample(own, target)
        losses = {}
        for loss in losses_of(self):
            value = loss(own, target, weight=weight, ignore_index=self.ignore_index)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        with torch.no_grad():
            iou = paired_iou(self.box_coder.decode(own.detach()), target.boxes)
            iou = iou.where(target.valid, iou.new_zeros(())).sum()
            losses['iou_box'] = 100 * iou / target.valid.sum().clamp(min=1)
        return losses

    def pixel_boxes(self, batch_data_samples: SampleList) -> Tuple[PixelBoxes, Tensor]:
        """Find what the pixels, or the points of the grid, are to regress.

        Args:
            batch_data_samples (list[:obj:`SegDataSample`]): Samples with ``gt_sem_seg`` and
                ``gt_instances``, (1, H, W) each.

        Returns:
            tuple[PixelBoxes, Tensor]: The boxes, and which of the F classes a pixel has,
            (N, h, w) int64, 0 where it is not valid.
        """
        labels = self._stack_batch_gt(batch_data_samples).squeeze(1)
        boxes, number = instance_boxes(self._stack_instances(batch_data_samples))
        none = len(boxes) - 1
        number = sample_labels(number[:, None], self.label_stride or 1, none).squeeze(1)
        labelled = labels != self.ignore_index
        check_labels(labels, labelled, self.num_classes, self.ignore_index)
        rows = self.rows[labels.where(labelled, labels.new_zeros(())).long()]
        valid = labelled & (rows >= 0) & (number != none)
        centres = self.centres(number.shape[1:], number.device)
        relative = boxes.float()[number].permute(0, 3, 1, 2) - centres
        return PixelBoxes(self.box_coder.encode(relative), relative, valid), rows * valid

    def centres(self, size: Sequence[int], device: torch.device) -> Tensor:
        """Give x, y, x, y of the centres of the pixels that a grid or an image has, (4, h, w)."""
        stride = self.label_stride or 1
        y, x = (torch.arange(side, device=device) * stride + (stride // 2 + 0.5) for side in size)
        return torch.stack(torch.meshgrid(x, y, indexing='xy')).repeat(2, 1, 1)

    def _stack_instances(self, batch_data_samples: SampleList) -> Tensor:
        """Stack the instances, (N, H, W), padded to the size of the labels with none."""
        maps = []
        for sample in batch_data_samples:
            if 'gt_instances' not in sample:
                raise ValueError('LocalizationHead needs the instances of the images '
                                 "('gt_instances'): end the pipeline with PackInstanceInputs.")
            instances, labels = sample.gt_instances.data[0], sample.gt_sem_seg.data[0]
            down, right = (full - part for full, part in zip(labels.shape, instances.shape))
            if down < 0 or right < 0:
                raise ValueError(
                    f'LocalizationHead: gt_instances has {tuple(instances.shape)} pixels, but '
                    f'gt_sem_seg {tuple(labels.shape)}: end the pipeline with PackInstanceInputs.')
            # mmseg's data preprocessor pads the labels alone
            maps.append(F.pad(instances, (0, right, 0, down)))
        return torch.stack(maps)

    def predict(self,
                inputs: Sequence[Tensor],
                batch_img_metas: List[dict],
                test_cfg: ConfigType,
                classes: Optional[Sequence[int]] = None) -> Tensor:
        """Predict the boxes of the pixels of a batch.

        Args:
            inputs (Sequence[Tensor]): Maps of the backbone.
            batch_img_metas (list[dict]): Meta information of each image.
            test_cfg (dict): Its mode must not be ``'slide'``.
            classes (Sequence[int], optional): Labels whose boxes are wanted. Defaults to None: all
                that have instances, ``self.classes``.

        Returns:
            Tensor: x1, y1, x2, y2 in pixels of the padded batch for each class, as it would be if
            the pixel had that class: (N, F, 4, H, W) float32, not clipped to the image.

        Raises:
            ValueError: If a class has no instances, or images are to be tested by a sliding window.
        """
        if test_cfg is not None and test_cfg.get('mode') == 'slide':
            raise ValueError("LocalizationHead cannot be tested with mode='slide', as its boxes "
                             "belong to the whole image: set model.test_cfg.mode='whole'.")
        return self.predict_by_feat(self(inputs), batch_img_metas, classes)

    def predict_by_feat(self,
                        seg_logits: Tensor,
                        batch_img_metas: List[dict],
                        classes: Optional[Sequence[int]] = None) -> Tensor:
        """Turn what :meth:`forward` gives, (N, 4 F, h, w), into boxes, as :meth:`predict`."""
        classes = self.classes if classes is None else list(classes)
        if not set(classes) <= set(self.classes):
            raise ValueError(f'LocalizationHead has boxes of the classes {self.classes}, but '
                             f'{classes} was asked for.')
        meta = batch_img_metas[0]
        size = tuple(meta.get('pad_shape', meta['img_shape'])[:2])
        self.check_grid(seg_logits, size)
        if not classes:
            return seg_logits.new_zeros(len(seg_logits), 0, 4, *size, dtype=torch.float32)

        def enlarged(maps: Tensor) -> Tensor:
            maps = resize(maps.flatten(1, 2), size=size, mode='bilinear',
                          align_corners=self.align_corners)
            return maps.unflatten(1, (-1, 4))

        transforms = seg_logits.unflatten(1, (-1, 4))[:, self.rows[classes]]
        # Where the loss saw them. A grid is decoded first: the positions of an instance have one
        # box, and other offsets, which beyond the outermost positions would stay as they are.
        if self.label_stride is None:
            transforms = enlarged(transforms)
        boxes = self.box_coder.decode(transforms)
        boxes = boxes + self.centres(boxes.shape[-2:], boxes.device)
        return boxes if self.label_stride is None else enlarged(boxes)
