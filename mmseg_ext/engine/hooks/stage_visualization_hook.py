from typing import Sequence

import cv2
from mmengine.runner import Runner
from mmseg.engine.hooks import SegVisualizationHook
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from mmseg_ext.visualization import draw_stages


@HOOKS.register_module()
class StageVisualizationHook(SegVisualizationHook):
    """Draw input, truth and every stage's label map side by side (Fig. 5 of the LRN paper).

    Takes the place of mmseg's ``SegVisualizationHook`` in ``default_hooks.visualization`` and has
    its arguments, so ``tools/test.py CONFIG CHECKPOINT --show-dir DIR`` draws. The pictures
    are ``DIR/vis_data/vis_image/{mode}_{image name}_{iteration}.png``.

    Needs the model type ``StagewiseEncoderDecoder``. The input is taken from the batch, not from
    disk, so data sets without files can be drawn.

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
            height, width = sample.ori_shape[:2]
            image = cv2.resize(image.permute(1, 2, 0).cpu().numpy(), (width, height))
            truth = sample.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in sample else None
            stages = sample.stage_sem_seg.data.cpu().numpy()
            picture = draw_stages(image[..., ::-1], stages, palette, truth=truth)
            name = sample.img_path.replace('\\', '/').rpartition('/')[2].rpartition('.')[0]
            self._visualizer.add_image(f'{mode}_{name}', picture, step=runner.iter)
            if self.show:
                self._visualizer.show(picture, win_name=name, wait_time=self.wait_time)
