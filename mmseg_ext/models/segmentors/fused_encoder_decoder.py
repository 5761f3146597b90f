import logging
from typing import Iterator, List, Tuple

import torch
import torch.nn as nn
from mmengine.logging import print_log
from mmengine.structures import PixelData
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import OptSampleList, SampleList
from torch import Tensor

from mmseg_ext.ops import upsampled_argmax

from ..decode_heads.small_logits import use_small_logits


@MODELS.register_module()
class FusedEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` without logits of the size of the image.

    A head predicts small logits, which mmseg enlarges to the size of the image. At 150 classes and
    16 crops of 512x512 that is a tensor of 2.5 GB, with its gradient, its softmax and that one's
    gradient. Here they are made tile by tile, used and forgotten
    (:func:`mmseg_ext.ops.upsampled_cross_entropy`, :func:`mmseg_ext.ops.upsampled_argmax`). Losses,
    ``acc_seg``, label maps and checkpoints are mmseg's, but for rounding.

    *In training* this holds for heads with mmseg's ``loss_by_feat`` whose losses are all one of
    mmseg's ``CrossEntropyLoss`` (softmax), ``BootstrappedCrossEntropyLoss`` and
    ``ClassWeightedCrossEntropyLoss``, without a sampler, with ``BootstrapPixelSampler`` or with
    mmseg's ``OHEMPixelSampler`` (with ``thresh``). Any other head goes the ordinary way; the log
    says which and why.

    *At test* the label map is computed from the small logits. ``seg_logits`` of a prediction are
    enlarged when they are looked at, as ``--tta`` does. Sliding windows, heads with one logit and
    heads with a prediction of their own go the ordinary way.

    Args:
        kwargs: Arguments of mmseg's ``EncoderDecoder``.

    Example:
        >>> model = dict(type='FusedEncoderDecoder')  # all that is added to a config of mmseg
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        for name, head in self._heads():
            reason = use_small_logits(head)
            if reason is not None:
                print_log(f'{name} is trained with logits of full size: {reason}.',
                          logger='current', level=logging.WARNING)

    def _heads(self) -> Iterator[Tuple[str, nn.Module]]:
        for name in ('decode_head', 'auxiliary_head'):
            heads = getattr(self, name, None)
            if isinstance(heads, nn.ModuleList):
                yield from ((f'{name}[{i}]', head) for i, head in enumerate(heads))
            elif heads is not None:
                yield name, heads

    @property
    def _last_head(self) -> nn.Module:
        heads = self.decode_head
        return heads[-1] if isinstance(heads, nn.ModuleList) else heads

    def predict(self, inputs: Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Predict label maps.

        Args:
            inputs (Tensor): Images, (N, 3, H, W).
            data_samples (list[:obj:`SegDataSample`], optional): Their meta information. Without it
                the prediction is mmseg's.

        Returns:
            list[:obj:`SegDataSample`]: With ``pred_sem_seg``, (1, H, W) int64 at the original
            image's size, and ``seg_logits``, which are computed when they are looked at.
        """
        if data_samples is None or not self._labels_from_small_logits():
            return super().predict(inputs, data_samples)
        head = self._last_head
        small: List[Tensor] = []
        sizes = []

        def keep_small(seg_logits: Tensor, batch_img_metas: List[dict]) -> Tensor:
            small.append(seg_logits)
            sizes.append(_input_size(batch_img_metas[0]))
            return seg_logits

        head.predict_by_feat = keep_small  # shadows the method, for this call
        try:
            self.inference(inputs, [sample.metainfo for sample in data_samples])
        finally:
            del head.predict_by_feat
        for i, sample in enumerate(data_samples):
            logits = EnlargedLogits.of(small[0][i:i + 1], sizes[0], sample.metainfo,
                                       self.align_corners)
            sample.set_data(dict(seg_logits=logits, pred_sem_seg=PixelData(data=logits.labels())))
        return data_samples

    def _labels_from_small_logits(self) -> bool:
        head = type(self._last_head)
        return (self.test_cfg.get('mode', 'whole') == 'whole' and self._last_head.out_channels > 1
                and head.predict_by_feat is BaseDecodeHead.predict_by_feat
                and head.predict in (BaseDecodeHead.predict, BaseCascadeDecodeHead.predict))


class EnlargedLogits(PixelData):
    """Logits of an image that are enlarged when their ``data``, (C, H, W), are looked at.

    A copy, on another device say, is a ``PixelData`` of enlarged logits.
    """

    @classmethod
    def of(cls, small: Tensor, input_size: Tuple[int, int], meta: dict,
           align_corners: bool) -> 'EnlargedLogits':
        """Keep small logits, and what mmseg does with them.

        Args:
            small (Tensor): (1, C, h, w).
            input_size (tuple[int]): Height and width of the network's input, with its padding.
            meta (dict): Meta information of the image: its original size, padding and flip.
            align_corners (bool): As in ``F.interpolate``.
        """
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        steps = [tuple(input_size), (top, bottom, left, right)]
        if meta.get('flip'):
            steps.append(meta['flip_direction'])
        self = cls()
        # not a field of the element: these are moved, copied and compared
        self.__dict__['_way'] = (small, steps, tuple(meta['ori_shape'][:2]), align_corners)
        return self

    def labels(self) -> Tensor:
        """Compute the label map, (1, H, W) int64."""
        small, steps, size, align_corners = self._way
        labels = upsampled_argmax(small, size, align_corners=align_corners, through=steps)
        return labels.long()  # as mmseg's

    def new(self, **kwargs) -> PixelData:
        """Copy the enlarged logits."""
        return PixelData(data=self.data).new(**kwargs)

    def __getattr__(self, name: str) -> Tensor:
        if name != 'data' or '_way' not in self.__dict__:
            raise AttributeError(f'{type(self).__name__} has no attribute {name!r}.')
        logits, (input_size, (top, bottom, left, right), *flip), size, align_corners = self._way
        to = dict(mode='bilinear', align_corners=align_corners, warning=False)
        logits = resize(logits, input_size, **to)
        logits = logits[:, :, top:logits.size(2) - bottom, left:logits.size(3) - right]
        if flip:
            logits = logits.flip(3 if flip[0] == 'horizontal' else 2)
        self.data = resize(logits, size, **to)[0]
        return self.data


def _input_size(meta: dict) -> Tuple[int, int]:
    """The size to which mmseg's heads enlarge logits; a torch.Size is that of a window to them."""
    shape = meta['img_shape']
    return tuple((shape if isinstance(shape, torch.Size) else meta.get('pad_shape', shape))[:2])
