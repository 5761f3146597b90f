from typing import Optional, Sequence

from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ext.models.segmentors import PixelBoxInstanceSegmentor
from mmseg_ext.visualization import draw_instances

from .picture_hook import PictureHook, to_rgb


@HOOKS.register_module()
class InstanceVisualizationHook(PictureHook):
    """Draw predicted instances over their image, and the map of moved pixels.

    Image, true instances, predicted ones with class and score, and where the pixels say that the
    centres of their instances are: Fig. 1 of `Bridging Category-level and Instance-level Semantic
    Image Segmentation <https://arxiv.org/abs/1605.06885>`_.

    The pictures are ``{mode}_instances_{image name}_{iteration}.png``, see :class:`PictureHook`.

    Args:
        draw (bool): Whether to draw at all. Defaults to False.
        interval (int): Draw every this many batches of a validation or test, beginning with the
            first. Defaults to 50.
        kwargs: Other arguments of mmseg's ``SegVisualizationHook``.

    Raises:
        ValueError: If ``interval`` is not at least 1, or, when the run starts, if the model is no
            ``PixelBoxInstanceSegmentor``.
    """

    def before_run(self, runner: Runner) -> None:
        """Find the model, which has to be a ``PixelBoxInstanceSegmentor``."""
        self._model, _ = self.find_segmentor(runner)
        if not isinstance(self._model, PixelBoxInstanceSegmentor):
            raise ValueError('InstanceVisualizationHook needs a PixelBoxInstanceSegmentor, got '
                             f'{type(self._model).__name__}: for other models take '
                             'SegVisualizationHook.')

    def _before_iter(self,
                     runner: Runner,
                     batch_idx: int,
                     data_batch: Optional[dict] = None,
                     mode: str = 'train') -> None:
        if mode != 'train' and self.draw:
            self._model.keeps_votes = batch_idx % self.interval == 0

    def _after_iter(self,
                    runner: Runner,
                    batch_idx: int,
                    data_batch: dict,
                    outputs: Sequence[SegDataSample],
                    mode: str = 'val') -> None:
        if mode == 'train' or not self.draw or batch_idx % self.interval:
            return
        self._model.keeps_votes = False
        for image, sample in zip(data_batch['inputs'], outputs):
            self._draw(runner, image, sample, mode)

    def _draw(self, runner: Runner, image: Tensor, sample: SegDataSample, mode: str) -> None:
        if sample.get('flip'):  # the prediction is flipped back
            image = image.flip(dict(vertical=1, horizontal=2)[sample.flip_direction])
        found = sample.pred_instances
        truth = sample.gt_instances.data[0].cpu().numpy() if 'gt_instances' in sample else None
        parts = (found.masks, found.labels, found.scores, found.bboxes, sample.votes.data[0])
        picture = draw_instances(
            to_rgb(image, tuple(found.masks.shape[1:])), *(part.cpu().numpy() for part in parts),
            truth=truth, classes=self._visualizer.dataset_meta.get('classes'))
        self.add_picture(runner, f'{mode}_instances', picture, sample)
