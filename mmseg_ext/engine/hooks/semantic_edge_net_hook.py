import io
import logging
import os.path as osp
import random
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import Dict, Iterator, List, Optional, Tuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from mmseg_ext.engine.first_process import from_first_process
from mmseg_ext.evaluation.semantic_edge_metric import SemanticEdgeMetric
from mmseg_ext.models.backbones.semantic_edge_net import SemanticEdgeNet
from mmseg_ext.models.losses.semeda_loss import SEMEDALoss
from mmseg_ext.models.segmentors.semantic_edge_detector import (
    SemanticEdgeDetector,
    random_window,
)

#: Where a checkpoint of a run has the edge networks, by the names of the losses in the model.
KEY = 'semantic_edge_nets'


@HOOKS.register_module()
class SemanticEdgeNetHook(Hook):
    """Gives every ``SEMEDALoss`` of a model its network before training starts.

    Where a loss has an ``init_cfg``, that file is read. Else the network is trained on label maps
    that the training pipeline gives, scaled as the model will see them, and stored in the work
    directory, where the next run finds it. That takes one to three minutes on a CPU, before
    iteration 1; the log says so, and how far it is. Without a ``SEMEDALoss`` the hook does nothing.

    Checkpoints of the run carry the networks beside the ``state_dict``. A run that is resumed goes
    on with these, in any folder.

    With several processes the first one trains and the others get its weights. They wait as long
    as it takes, not only as long as a collective of the backend may take. If the first one fails,
    all end with its error.

    Args:
        num_maps (int): How many label maps are taken from the training pipeline. Defaults to 512.
        iterations (int): Steps of Adam, with 32 windows of 32x32 pixels each. Defaults to 2,000.
        lr (float): Highest learning rate. Defaults to 0.01.
        filename (str): Name of the file in the work directory. Defaults to
            ``'semantic_edge_net.pth'``; it can be the ``checkpoint`` of another run's ``init_cfg``.
        max_wait (float): Minutes that the other processes wait for the first one. Defaults to 180.

    Raises:
        ValueError: If a number is not positive.

    Note:
        F of the edges in other windows is logged, with a warning where it is below 0.95. A file
        that was made for other classes than those of the data set, or for another order of them,
        is refused.
    """

    def __init__(self,
                 num_maps: int = 512,
                 iterations: int = 2000,
                 lr: float = 0.01,
                 filename: str = 'semantic_edge_net.pth',
                 max_wait: float = 180.) -> None:
        for name, value, kind in (('num_maps', num_maps, int), ('iterations', iterations, int),
                                  ('lr', lr, (int, float)), ('max_wait', max_wait, (int, float))):
            if not isinstance(value, kind) or not value > 0:
                what = 'a whole number of at least 1' if kind is int else 'a positive number'
                raise ValueError(f'SemanticEdgeNetHook {name} must be {what}, got {value!r}.')
        self.num_maps = num_maps
        self.iterations = iterations
        self.lr = lr
        self.filename = filename
        self.max_wait = timedelta(minutes=max_wait)
        self._loaded: Dict[str, dict] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the networks of a checkpoint, in case the run is resumed from it."""
        self._loaded = checkpoint.get(KEY, {})

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put the networks into a checkpoint, beside the ``state_dict``."""
        contents = {name: loss.edge_net.content()
                    for name, (loss, _) in _named_losses(_unwrapped(runner.model)).items()
                    if loss.is_ready}
        if contents:
            checkpoint[KEY] = contents

    def before_train(self, runner: Runner) -> None:
        """Load or train the networks.

        Raises:
            ValueError: If a loss was made for another number of classes than its head; a file is of
                another network (see :meth:`SemanticEdgeNet.read`); or the run is resumed and began
                with other weights than those in the file.
            FileNotFoundError: If the file of an ``init_cfg`` is not there.
            RuntimeError: In the other processes, if the first one failed.
        """
        # fine-tuning (load_from) starts at iteration 0: a new run, with a network of its own
        resumed = self._loaded if runner.iter > 0 else {}
        meta = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
        classes = meta.get('classes')
        made = {}
        for name, (loss, head) in _named_losses(_unwrapped(runner.model)).items():
            loss.init_weights()
            net = loss.edge_net
            if classes:
                net.expect_classes(classes)
            if not loss.is_ready:
                kind = net.class_agnostic, tuple(weight.shape for weight, _ in net.layers)
                if kind in made:
                    net.read(made[kind].content(), made[kind].source)
                else:
                    made[kind] = net
                    self._find_or_make(runner, net, len(made), head.ignore_index, resumed.get(name))
                loss.is_ready = True
            if name in resumed and not net.same_weights(resumed[name]):
                raise ValueError(
                    'The run that is resumed began with another semantic edge network than the one '
                    f"in '{net.source}'. Delete that file, or leave init_cfg out, and the network "
                    'in the checkpoint is taken; or start a new run with load_from instead of '
                    'resume.')

    def _find_or_make(self, runner: Runner, net: SemanticEdgeNet, number: int, ignore_index: int,
                      resumed: Optional[dict]) -> None:
        """Fill a network in every process: from its file, from the checkpoint, or by training."""
        name, extension = osp.splitext(self.filename)
        path = osp.join(runner.work_dir, name + ('' if number == 1 else f'_{number}') + extension)

        def work() -> bytes:
            if osp.exists(path):
                runner.logger.info(f'The semantic edge network is read from {path}.')
                net.load(path)
            elif resumed:
                runner.logger.info('The semantic edge network is the one in the checkpoint.')
                net.read(resumed, 'the checkpoint')
                net.save(path)
            else:
                if runner.iter > 0:
                    runner.logger.warning(
                        'The run is resumed from a checkpoint without its semantic edge network, '
                        f'and {path} does not exist: it goes on with another network than it began '
                        'with. Copy that file from the folder of the run, and start again.')
                self._make(runner, net, ignore_index, path)
            stream = io.BytesIO()
            torch.save(net.content(), stream)
            return stream.getvalue()

        content = from_first_process(work, 'the semantic edge network', self.max_wait)
        if not is_main_process():
            net.read(torch.load(io.BytesIO(content), map_location='cpu'), path)
        net.source = path

    def _make(self, runner: Runner, net: SemanticEdgeNet, ignore_index: int, path: str) -> None:
        """Train a network and store it, with a log."""
        others = get_world_size() - 1
        runner.logger.info(
            f'SEMEDALoss has no semantic edge network yet: {path} does not exist. It is trained '
            f'now, before iteration 1: {self.num_maps} label maps are taken from the training '
            f'pipeline, then come {self.iterations} steps. (512 maps and 2,000 steps take one to '
            'three minutes on a CPU.)' + (f' The {others} other processes wait.' if others else ''))
        with _randomness_restored():  # a run that finds the file goes on just the same
            score = self._train(net, self._label_maps(runner), ignore_index, runner.logger)
        runner.logger.info(f'The semantic edge network was trained for {self.iterations} '
                           f'iterations; F of its edges is {score:.4f}. It is stored in {path}.')
        net.save(path)
        if score < 0.95:
            runner.logger.warning(
                'The semantic edge network finds the edges badly: raise iterations of '
                f'SemanticEdgeNetHook, and delete {path}, which is read otherwise.')

    def _train(self, net: SemanticEdgeNet, maps: List[Tensor], ignore_index: int,
               logger: logging.Logger) -> float:
        """Train a network; gives F of its edges, 0 to 1."""
        detector = SemanticEdgeDetector(
            dict(num_classes=net.num_classes, channels=[len(bias) for _, bias in net.layers[:-1]],
                 class_agnostic=net.class_agnostic),
            crop_size=32,
            ignore_index=ignore_index)
        device = net.layers[0][0].device
        detector.to(device)

        def windows() -> Tensor:
            labels = detector.windows(random.choices(maps, k=32))
            return labels.to(device).long()

        optimizer = torch.optim.Adam(detector.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, self.iterations)
        progress = _Progress(logger, 'step', self.iterations)
        for step in range(1, self.iterations + 1):
            optimizer.zero_grad()
            loss = detector.edge_loss(windows())
            loss.backward()
            optimizer.step()
            schedule.step()
            if progress.is_due(step):
                progress.report(step, f', loss {loss.item():.4f}')
        counts = []
        with torch.no_grad():
            for _ in range(20):
                labels = windows()
                edges = detector.edge_net(labels, ignore_index)[-1].argmax(dim=1) == 1
                counts.append(SemanticEdgeMetric.calculate(edges, labels, ignore_index))
        detector.edge_net.classes = net.classes
        net.read(detector.edge_net.content(), 'the training')
        hits, found, true = torch.stack(counts).sum(dim=0).tolist()
        return 2 * hits / max(found + true, 1)

    def _label_maps(self, runner: Runner) -> List[Tensor]:
        """Parts of label maps of the training set, of at most 256x256 pixels."""
        loader = runner.train_dataloader
        batches = DataLoader(  # of its own, so that training sees its images in their order
            loader.dataset,
            batch_size=8,
            sampler=RandomSampler(loader.dataset, num_samples=self.num_maps),
            num_workers=loader.num_workers,
            collate_fn=pseudo_collate,
            worker_init_fn=loader.worker_init_fn)
        maps: List[Tensor] = []
        progress = _Progress(runner.logger, 'label map', self.num_maps)
        for batch in batches:
            # as int16, of a quarter of the memory: class ids are small
            maps += [random_window(sample.gt_sem_seg.data[0], 256).short()
                     for sample in batch['data_samples']]
            if progress.is_due(len(maps)):
                progress.report(len(maps))
        return maps


class _Progress:
    """Logs how far a loop is, ten times on its way."""

    def __init__(self, logger: logging.Logger, what: str, total: int) -> None:
        self.logger = logger
        self.what = what
        self.total = total
        self.reported = 0
        self.start = time.monotonic()

    def is_due(self, done: int) -> bool:
        return done < self.total and 10 * (done - self.reported) >= self.total

    def report(self, done: int, details: str = '') -> None:
        self.reported = done
        left = (time.monotonic() - self.start) * (self.total - done) / done
        self.logger.info(f'Semantic edge network: {self.what} {done} of {self.total}{details}, '
                         f'about {left:.0f} s left.')


@contextmanager
def _randomness_restored() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _named_losses(model: nn.Module) -> Dict[str, Tuple[SEMEDALoss, nn.Module]]:
    """The losses of :func:`semeda_losses_of` by their names in the model."""
    names = {module: name for name, module in model.named_modules()}
    return {names[loss]: (loss, head) for loss, head in semeda_losses_of(model)}


def semeda_losses_of(model: nn.Module) -> List[Tuple[SEMEDALoss, nn.Module]]:
    """Find the losses of a model's heads, each with its head, and give them their networks.

    A ValueError says that a loss was made for another number of classes than its head.
    """
    losses = []
    for head in model.modules():
        if hasattr(head, 'loss_decode') and hasattr(head, 'out_channels'):
            for loss in head.loss_decode.modules():
                if isinstance(loss, SEMEDALoss):
                    loss.build_edge_net(head.out_channels)
                    loss.edge_net.to(next(head.parameters()).device)
                    losses.append((loss, head))
    return losses
