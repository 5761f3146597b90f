from typing import Any, List, Optional, Sequence, Tuple

import torch.nn as nn
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ext.models.decode_heads import RegionHead
from mmseg_ext.visualization import draw_winners, winning_regions

from .picture_hook import PictureHook, to_rgb, truth_of


@HOOKS.register_module()
class RegionVisualizationHook(PictureHook):
    """Draw a prediction and the regions that it was taken from.

    Image, ground truth, prediction with the borders of the regions that won, and how large the
    winner of each pixel is: whether the network recognises things as a whole, section 3.2 of
    `Region-based semantic segmentation with end-to-end training
    <https://arxiv.org/abs/1607.07671>`_.

    The pictures are ``{mode}_regions_{image name}_{iteration}.png``, see :class:`PictureHook`.
    Batches of which no image is drawn cost nothing.

    Args:
        draw (bool): Whether to draw at all. Defaults to False.
        interval (int): Draw every this many images of a validation or test, beginning with the
            first; with several processes, of each one's. Defaults to 50.
        kwargs: Other arguments of mmseg's ``SegVisualizationHook``.

    Raises:
        ValueError: If ``interval`` is not at least 1, or, when the run starts, if the decode head
            is no ``RegionHead``.

    Note:
        The winner is the region with the highest score for the predicted class, also where the
        head's ``decay`` averages the scores of several; with ``softmax_first`` it is the one with
        the highest probability. With test-time augmentation nothing is drawn: each view has
        regions of its own.
    """

    def __init__(self, draw: bool = False, interval: int = 50, **kwargs) -> None:
        super().__init__(draw=draw, interval=interval, **kwargs)
        self._head: Optional[RegionHead] = None
        self._is_augmented = False
        self._handle: Optional[Any] = None  # while it listens to the head
        self._scores: Optional[List[Tensor]] = None
        self._num_images = 0

    def before_run(self, runner: Runner) -> None:
        """Find the decode head, which has to be a ``RegionHead``."""
        model, self._is_augmented = self.find_segmentor(runner)
        self._head = getattr(model, 'decode_head', None)
        if not isinstance(self._head, RegionHead):
            raise ValueError(
                'RegionVisualizationHook needs a model with a RegionHead as decode_head, got '
                f'{type(model).__name__} with {type(self._head).__name__}: for other heads take '
                'SegVisualizationHook.')

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if mode == 'train':
            return
        self._num_images = 0
        if self.draw and self._is_augmented:
            runner.logger.warning('RegionVisualizationHook draws nothing with test-time '
                                  'augmentation: each view has regions of its own.')

    def _before_iter(self,
                     runner: Runner,
                     batch_idx: int,
                     data_batch: Optional[dict] = None,
                     mode: str = 'train') -> None:
        if mode == 'train' or not self.draw or self._is_augmented:
            return
        # the number of the next image to draw, counted from the first of the batch
        if -self._num_images % self.interval < len(data_batch['inputs']):
            self._scores = None
            self._handle = self._head.register_forward_hook(self._keep_scores)

    def _keep_scores(self, head: nn.Module, args: Tuple, output: List[Tensor]) -> None:
        self._scores = output

    def _after_iter(self,
                    runner: Runner,
                    batch_idx: int,
                    data_batch: dict,
                    outputs: Sequence[SegDataSample],
                    mode: str = 'val') -> None:
        if mode == 'train' or not self.draw or self._is_augmented:
            return
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
            if self._scores is None:
                runner.logger.warning(
                    'RegionVisualizationHook has nothing to draw: the decode head was not called '
                    'as a module, as in a compiled model.')
            else:
                for i, (image, sample) in enumerate(zip(data_batch['inputs'], outputs)):
                    if (self._num_images + i) % self.interval == 0:
                        self._draw(runner, image, sample, self._scores[i], mode)
            self._scores = None  # not kept till the next picture
        self._num_images += len(outputs)

    def _draw(self, runner: Runner, image: Tensor, sample: SegDataSample, scores: Tensor,
              mode: str) -> None:
        scores = scores.detach().float()
        if self._head.softmax_first:
            scores = scores.log_softmax(dim=1)
        prediction = sample.pred_sem_seg.data[0].cpu().numpy()
        regions = sample.regions
        if sample.get('flip'):  # mmseg flips the prediction back
            axis = dict(vertical=0, horizontal=1)[sample.flip_direction]
            image = image.flip(axis + 1)
            regions = regions._replace(cells=regions.cells.flip(axis))
        meta = self._visualizer.dataset_meta
        picture = draw_winners(
            to_rgb(image, prediction.shape),
            prediction,
            winning_regions(scores.cpu().numpy(), regions, prediction),
            regions,
            meta['palette'],
            truth=truth_of(sample),
            classes=meta.get('classes'))
        self.add_picture(runner, f'{mode}_regions', picture, sample)
