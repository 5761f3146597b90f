from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn as nn
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ext.engine.hard_pixel_statistics import (
    HardPixelStatistics,
    thresholds_in_force,
    true_class_probability,
)
from mmseg_ext.models.losses import BootstrappedCrossEntropyLoss
from mmseg_ext.models.losses.head_losses import losses_of
from mmseg_ext.models.samplers import BootstrapPixelSampler
from mmseg_ext.ops import select_hard_pixels
from mmseg_ext.ops.bootstrapped_cross_entropy import check_options
from mmseg_ext.visualization import draw_class_shares, draw_hard_pixels
from mmseg_ext.visualization.hard_pixels import SHARES_CAPTION

from .picture_hook import PictureHook, to_rgb

POINTS = 'bootstrap_points'  # in the message hub, and so in checkpoints


class Selection(NamedTuple):
    """Which pixels are kept, as in ``select_hard_pixels``."""
    thresh: Optional[float]
    min_kept: Optional[int]
    per_image: bool


@HOOKS.register_module()
class HardPixelVisualizationHook(PictureHook):
    """Show which pixels online bootstrapping keeps, and of which classes they are.

    The last paragraph of section 2.2 of `Bridging Category-level and Instance-level Semantic Image
    Segmentation <https://arxiv.org/abs/1605.06885>`_ expects that bootstrapping balances the
    classes by itself; here one can watch it.

    - Training, in the first iteration and in every ``log_interval``-th, of that batch: scalars
      ``train/kept_fraction`` (of the labelled pixels) and ``train/kept_threshold`` (t of Eq. 1
      after it rose; the mean of the images' with ``per_image``), and in the log a table of each
      class's share of the labelled and of the kept pixels. With several processes these are the
      first one's. Where the head has a grid of labels, a pixel is a point of the grid.
    - Validation and test: a picture of every ``interval``-th image, beginning with the first
      (``vis_data/vis_image/{mode}_hard_pixels_{image name}_{iteration}.png``); at the end the
      same scalars under ``val/`` or ``test/``, the table, and its bars as a picture, over all
      images and processes.

    Works with any head whose losses get logits and labels of the same size. It goes into
    ``custom_hooks``, or into ``default_hooks.visualization``, where ``tools/test.py --show-dir``
    finds it.

    Args:
        thresh (float, optional): Threshold t, in (0, 1]. Defaults to None.
        min_kept (int, optional): Least number of kept pixels. Defaults to None. With neither of the
            two, both and ``per_image`` are taken from the ``BootstrappedCrossEntropyLoss`` or the
            ``BootstrapPixelSampler`` of the decode head. Given for a head that has neither, they
            show what would be kept.
        per_image (bool): Whether ``min_kept`` counts in each image instead of in the batch, where
            it is given here. Defaults to False.
        interval (int): Draw every this many images. Defaults to 50.
        log_interval (int): Log every this many training iterations; best the interval of the
            ``LoggerHook``, which shows the scalars. Defaults to 50.
        draw (bool): Whether to draw pictures, besides the scalars and tables. Defaults to True.
        kwargs: Other arguments of mmseg's ``SegVisualizationHook``.

    Raises:
        ValueError: If an argument is out of its range, or, when the run starts, if the decode head
            does not bootstrap and nothing is given.

    Note:
        ``min_kept`` counts pixels of training batches, a validation image has another number of
        pixels. So it counts there as a share: of an image with A pixels at least
        A * ``min_kept`` / B are kept, B being the pixels of a training batch (of one of its images
        with ``per_image``). B is seen in training and kept in checkpoints; without it, as in
        a test of a model that was trained without this hook, ``min_kept`` is taken as it is, and
        the log says so. The paper selects in training only and leaves this open.

        A sampler with ``difficulty='loss'`` ranks pixels by the head's losses; here they are ranked
        by probability, which is the same for cross entropy.

        With test-time augmentation nothing is shown: mmseg then gives the logits of one view only.
    """

    def __init__(self,
                 thresh: Optional[float] = None,
                 min_kept: Optional[int] = None,
                 per_image: bool = False,
                 interval: int = 50,
                 log_interval: int = 50,
                 draw: bool = True,
                 **kwargs) -> None:
        check_options(thresh, min_kept, 'kept')
        if log_interval < 1:
            raise ValueError('HardPixelVisualizationHook log_interval must be at least 1, got '
                             f'{log_interval}.')
        super().__init__(draw=draw, interval=interval, **kwargs)
        self.log_interval = log_interval
        self.selection = Selection(thresh, min_kept, per_image)
        self._head: Optional[nn.Module] = None
        self._is_augmented = False
        self._is_first_iter = True
        self._points: Optional[int] = None  # B of the note
        self._handle: Optional[Any] = None  # while it listens to the loss
        self._statistics: Optional[HardPixelStatistics] = None
        self._num_images = 0

    def before_run(self, runner: Runner) -> None:
        """Find the decode head, the last one of a cascade, and what it selects."""
        model, self._is_augmented = self.find_segmentor(runner)
        head = getattr(model, 'decode_head', None)
        if head is None:
            raise ValueError('HardPixelVisualizationHook needs a model with a decode_head, such as '
                             f'EncoderDecoder, got {type(model).__name__}.')
        self._head = head[-1] if isinstance(head, nn.ModuleList) else head

        if self.selection.thresh is not None or self.selection.min_kept is not None:
            return
        for part in (*losses_of(self._head), getattr(self._head, 'sampler', None)):
            if isinstance(part, (BootstrappedCrossEntropyLoss, BootstrapPixelSampler)):
                self.selection = Selection(*(part.selection[name] for name in Selection._fields))
                return
        losses = ', '.join(type(loss).__name__ for loss in losses_of(self._head))
        raise ValueError(
            'HardPixelVisualizationHook needs a decode head with a BootstrappedCrossEntropyLoss or '
            f'a BootstrapPixelSampler, got {type(self._head).__name__} with {losses}: to see which '
            'pixels bootstrapping would keep, give the hook thresh, min_kept or both, such as '
            'thresh=0.6.')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the number of pixels of the training batches."""
        info = checkpoint.get('message_hub', {}).get('runtime_info', {})
        self._points = info.get(POINTS)

    def before_train(self, runner: Runner) -> None:
        """Forget the batches of a training before this one."""
        self._points = None
        self._is_first_iter = True

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Optional[dict] = None) -> None:
        """Listen to the loss, in the iterations that are logged."""
        if self._is_first_iter or self.every_n_train_iters(runner, self.log_interval):
            losses = losses_of(self._head)
            own = [loss for loss in losses if isinstance(loss, BootstrappedCrossEntropyLoss)]
            self._statistics = None
            self._handle = (own or losses)[0].register_forward_pre_hook(
                self._measure, with_kwargs=True)
        self._is_first_iter = False

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Log what the loss was called with, and leave it alone again."""
        if self._handle is None:
            return
        self._handle.remove()
        self._handle = None
        if self._statistics is None:
            runner.logger.warning('HardPixelVisualizationHook has nothing to log: the loss of the '
                                  'decode head was not called as a module, as in a compiled model.')
            return
        runner.message_hub.update_info(POINTS, self._points)
        self._log(runner, 'train', f'iteration {runner.iter + 1}')

    def _measure(self, loss: nn.Module, args: Tuple, kwargs: Dict[str, Any]) -> None:
        """Count the pixels of a call of the loss, which stays as it is."""
        if kwargs.get('reduction_override') == 'none':
            return  # a sampler asks what is hard, the call that counts follows
        logits, labels = args[:2]
        self._points = labels[0].numel() if self.selection.per_image else labels.numel()
        self._select(logits, labels, self.selection)

    @torch.no_grad()
    def _select(self, logits: Tensor, labels: Tensor,
                selection: Selection) -> Tuple[Tensor, Tensor, Tensor]:
        """Select and count; gives kept pixels, probabilities and thresholds."""
        ignore_index = self._ignore_index()
        kept = select_hard_pixels(
            logits, labels, ignore_index=ignore_index, **selection._asdict()).kept
        probability = true_class_probability(logits, labels, ignore_index)
        thresholds = thresholds_in_force(
            probability, kept, selection.thresh, selection.per_image)
        if self._statistics is None:
            self._statistics = HardPixelStatistics(logits.size(1))
        self._statistics.update(labels, kept, thresholds, ignore_index)
        return kept, probability, thresholds

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if mode == 'train':
            return
        self._statistics = None
        self._num_images = 0
        if self._is_augmented:
            runner.logger.warning('HardPixelVisualizationHook shows nothing with test-time '
                                  'augmentation: the logits of its views are not merged.')
        elif self.selection.min_kept is not None and self._points is None:
            runner.logger.warning(
                'HardPixelVisualizationHook does not know how many pixels a training batch had, so '
                f'min_kept, {self.selection.min_kept}, counts in each image.')

    def _after_iter(self,
                    runner: Runner,
                    batch_idx: int,
                    data_batch: dict,
                    outputs: Sequence[SegDataSample],
                    mode: str = 'val') -> None:
        if mode == 'train' or self._is_augmented:
            return
        for image, sample in zip(data_batch['inputs'], outputs):
            if 'gt_sem_seg' not in sample:
                continue
            labels = sample.gt_sem_seg.data
            kept, probability, thresholds = self._select(
                sample.seg_logits.data[None], labels, self._share_of(labels.numel()))
            if self.draw and self._num_images % self.interval == 0:
                meta = self._visualizer.dataset_meta
                picture = draw_hard_pixels(
                    to_rgb(image, labels.shape[1:]),
                    labels[0].cpu().numpy(),
                    sample.pred_sem_seg.data[0].cpu().numpy(),
                    kept[0].cpu().numpy(),
                    probability[0].cpu().numpy(),
                    meta['palette'],
                    classes=meta.get('classes'),
                    threshold=thresholds[0].item() if len(thresholds) else None,
                    ignore_index=self._ignore_index())
                self.add_picture(runner, f'{mode}_hard_pixels', picture, sample)
            self._num_images += 1

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if mode == 'train' or self._is_augmented:
            return
        if self._statistics is None:  # no labelled image in this process; others may have some
            self._statistics = HardPixelStatistics(self._head.num_classes)
        self._statistics.sum_over_processes()
        self._log(runner, mode, f'{mode}, all images')
        if self.draw and self._statistics.scalars:
            meta = self._visualizer.dataset_meta
            bars = draw_class_shares(self._statistics.labelled.numpy(),
                                     self._statistics.kept.numpy(), meta['palette'],
                                     meta.get('classes'), caption=SHARES_CAPTION)
            self.add_titled(runner, f'{mode}_hard_pixels_classes', bars)

    def _share_of(self, num_pixels: int) -> Selection:
        """The selection for one image with so many pixels."""
        min_kept = self.selection.min_kept
        if min_kept is not None and self._points is not None:
            min_kept = max(1, round(min_kept * num_pixels / self._points))
        return self.selection._replace(min_kept=min_kept)

    def _log(self, runner: Runner, mode: str, when: str) -> None:
        """Hand the scalars to the message hub and the table to the log."""
        scalars = self._statistics.scalars
        for name, value in scalars.items():
            runner.message_hub.update_scalar(f'{mode}/{name}', value)
        if not scalars:
            runner.logger.warning(f'Hard pixels, {when}: no pixel has a label.')
            return
        threshold = scalars.get('kept_threshold')
        below = '' if threshold is None else f', threshold {threshold:.4f}'
        classes = (self._visualizer.dataset_meta or {}).get('classes')
        runner.logger.info(
            f'Hard pixels, {when}: kept {scalars["kept_fraction"]:.2%} of '
            f'{int(self._statistics.labelled.sum())} labelled pixels{below}\n'
            f'{self._statistics.table(classes)}')

    def _ignore_index(self) -> int:
        # Without one (mmseg: None) no label is 255 either.
        return 255 if self._head.ignore_index is None else self._head.ignore_index
