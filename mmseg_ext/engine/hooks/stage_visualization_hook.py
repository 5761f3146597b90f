from typing import Sequence

from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmseg_ext.visualization import draw_stages

from .picture_hook import PictureHook, to_rgb, truth_of


@HOOKS.register_module()
class StageVisualizationHook(PictureHook):
    """Draw input, ground truth and every stage's label map side by side (Fig. 5 of LRN).

    The pictures are ``{mode}_{image name}_{iteration}.png``, see :class:`PictureHook`. Needs the
    model type ``StagewiseEncoderDecoder``.

    Args:
        draw (bool): Whether to draw at all. Defaults to False.
        interval (int): Draw every this many batches. Defaults to 50.
        kwargs: Arguments of mmseg's ``SegVisualizationHook``.
    """

    def _after_iter(self,
                    runner: Runner,
                    batch_idx: int,
                    data_batch: dict,
                    outputs: Sequence[SegDataSample],
                    mode: str = 'val') -> None:
        if not self.draw or mode == 'train':
            return
        if not self.every_n_inner_iters(batch_idx, self.interval):
            return
        palette = self._visualizer.dataset_meta['palette']
        for image, sample in zip(data_batch['inputs'], outputs):
            stages = sample.stage_sem_seg.data.cpu().numpy()
            picture = draw_stages(
                to_rgb(image, sample.ori_shape[:2]), stages, palette, truth=truth_of(sample))
            self.add_picture(runner, mode, picture, sample)
