from typing import List

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import ConfigType, OptSampleList, SampleList
from torch import Tensor


@MODELS.register_module()
class StagewiseEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder`` that also reports the label map of every stage at test time.

    Training is unchanged. A prediction carries, beside ``pred_sem_seg``, the maps of all K stages
    of a :class:`StagewiseDecodeHead` as ``stage_sem_seg``, (K, H, W) uint8 at the original image's
    size, coarse to fine. One pass serves Table 4 of the LRN paper (``StagewiseIoUMetric``) and its
    Fig. 5 (``StageVisualizationHook``). Sliding windows, padding and flips are treated as for
    the final map.

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
        *coarse, finest = seg_logits.chunk(self.decode_head.num_stages, dim=1)
        results = super().postprocess_result(finest, data_samples)
        maps = [[] for _ in results]
        for stage in coarse:
            blank = data_samples and [SegDataSample(metainfo=s.metainfo) for s in data_samples]
            for stages, sample in zip(maps, super().postprocess_result(stage, blank)):
                stages.append(sample.pred_sem_seg.data)
        for stages, sample in zip(maps, results):
            stages.append(sample.pred_sem_seg.data)
            sample.stage_sem_seg = PixelData(data=torch.cat(stages).to(torch.uint8))
        return results
