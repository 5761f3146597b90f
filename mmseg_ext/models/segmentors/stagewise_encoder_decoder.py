from typing import List

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.utils import ConfigType, OptSampleList, SampleList
from torch import Tensor


@MODELS.register_module()
class StagewiseEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` that also reports the label map of every stage at test time.

    Training is unchanged. A prediction carries, beside ``pred_sem_seg``, the maps of all K stages
    of a :class:`StagewiseDecodeHead` as ``stage_sem_seg``, (K, H, W) at the original image's size,
    coarse to fine, uint8 or, for more than 256 classes, int16. One pass serves Table 4 of the LRN
    paper (``StagewiseIoUMetric``) and its Fig. 5 (``StageVisualizationHook``). Sliding windows,
    padding and flips are treated as for the final map.

    Args:
        kwargs: Arguments of mmseg's ``EncoderDecoder``. ``decode_head`` must be stagewise.

    Raises:
        TypeError: If the head has no stages.
    """

    def _init_decode_head(self, decode_head: ConfigType) -> None:
        super()._init_decode_head(decode_head)
        if not hasattr(self.decode_head, 'predict_stages'):
            raise TypeError('StagewiseEncoderDecoder needs a decode head with stages (LRNHead, '
                            f'SegNetHead), got {type(self.decode_head).__name__}.')
        # Sliding-window inference allocates this many channels: the stages travel side by side.
        self.out_channels = self.decode_head.out_channels * self.decode_head.num_stages

    def encode_decode(self, inputs: Tensor, batch_img_metas: List[dict]) -> Tensor:
        """Predict all stages.

        Args:
            inputs (Tensor): Images, (N, 3, H, W).
            batch_img_metas (list[dict]): Meta information of each image.

        Returns:
            Tensor: Logits of the stages side by side, (N, K * C, H, W).
        """
        features = self.extract_feat(inputs)
        stages = self.decode_head.predict_stages(features, batch_img_metas, self.test_cfg)
        return torch.cat(stages, dim=1)

    def postprocess_result(self,
                           seg_logits: Tensor,
                           data_samples: OptSampleList = None) -> SampleList:
        """Turn logits into label maps at the original image's size.

        Args:
            seg_logits (Tensor): Output of :meth:`encode_decode`, (N, K * C, H, W).
            data_samples (list[:obj:`SegDataSample`], optional): Samples to fill.

        Returns:
            list[:obj:`SegDataSample`]: With ``seg_logits`` and ``pred_sem_seg`` of the finest stage
            and ``stage_sem_seg`` of all.
        """
        num_stages = self.decode_head.num_stages
        coarse, finest = seg_logits.split(
            [seg_logits.size(1) // num_stages * k for k in (num_stages - 1, 1)], dim=1)
        results = super().postprocess_result(finest, data_samples)
        dtype = torch.uint8 if self.num_classes <= 256 else torch.int16
        for logits, sample in zip(coarse, results):
            maps = sample.pred_sem_seg.data.to(dtype)
            if num_stages > 1:
                logits = self._to_original_image(logits, sample.metainfo)
                stages = logits.view(num_stages - 1, -1, *logits.shape[1:])
                if self.decode_head.out_channels == 1:  # binary segmentation
                    labels = stages[:, 0].sigmoid() > self.decode_head.threshold
                else:
                    # Of max and argmax, which agree, max is four times as fast on a CPU.
                    labels = stages.max(dim=1).indices
                maps = torch.cat([labels.to(dtype), maps])
            sample.stage_sem_seg = PixelData(data=maps)
        return results

    def _to_original_image(self, logits: Tensor, meta: dict) -> Tensor:
        """Undo padding, flip and resizing as mmseg does for the final map, (D, H, W)."""
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        height, width = logits.shape[1:]
        logits = logits[:, top:height - bottom, left:width - right]
        if meta.get('flip'):
            logits = logits.flip(2 if meta['flip_direction'] == 'horizontal' else 1)
        return resize(
            logits[None],
            meta.get('ori_shape', logits.shape[1:]),
            mode='bilinear',
            align_corners=self.align_corners)[0]
