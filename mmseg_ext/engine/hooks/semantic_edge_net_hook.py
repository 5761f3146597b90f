import os.path as osp
import random
from contextlib import contextmanager
from typing import Iterator, List, Tuple

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from mmseg_ext.evaluation.semantic_edge_metric import SemanticEdgeMetric
from mmseg_ext.models.backbones.semantic_edge_net import SemanticEdgeNet
from mmseg_ext.models.losses.semeda_loss import SEMEDALoss
from mmseg_ext.models.segmentors.semantic_edge_detector import (
    SemanticEdgeDetector,
    random_window,
)


@HOOKS.register_module()
class SemanticEdgeNetHook(Hook):
    """Gives every ``SEMEDALoss`` of a model its network before training starts.

    Where a loss has an ``init_cfg``, that file is read. Else the network is trained on label maps
    that the training pipeline gives, scaled as the model will see them, and stored in the work
    directory; a run that is resumed finds it there. With several processes the first one trains and
    the others get its weights. Without a ``SEMEDALoss`` the hook does nothing.

    Args:
        num_maps (int): How many label maps are taken from the training pipeline. Defaults to 512.
        iterations (int): Steps of Adam, with 32 windows of 32x32 pixels each. Defaults to 2,000.
        lr (float): Highest learning rate. Defaults to 0.01.
        filename (str): Name of the file in the work directory. Defaults to
            ``'semantic_edge_net.pth'``; it can be the ``checkpoint`` of another run's ``init_cfg``.

    Note:
        F of the edges in other windows is logged, with a warning where it is below 0.95.
    """

    def __init__(self,
                 num_maps: int = 512,
                 iterations: int = 2000,
                 lr: float = 0.01,
                 filename: str = 'semantic_edge_net.pth') -> None:
        self.num_maps = num_maps
        self.iterations = iterations
        self.lr = lr
        self.filename = filename

    def before_train(self, runner: Runner) -> None:
        """Load or train the networks.

        Args:
            runner (Runner): The runner that is about to train.

        Raises:
            ValueError: If a loss was made for another number of classes than its head.
            FileNotFoundError: If the file of an ``init_cfg`` is not there.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        trained = {}
        for loss, head in losses_of(model):
            loss.init_weights()
            if loss.is_ready:
                continue
            sizes = tuple(weight.shape for weight, _ in loss.edge_net.layers)
            if sizes not in trained:
                trained[sizes] = loss.edge_net
                self._load_or_train(runner, loss.edge_net, len(trained), head.ignore_index)
            for own, other in zip(loss.edge_net.buffers(), trained[sizes].buffers()):
                own.copy_(other)
            loss.is_ready = True

    def _load_or_train(self, runner: Runner, net: SemanticEdgeNet, number: int,
                       ignore_index: int) -> None:
        name, extension = osp.splitext(self.filename)
        path = osp.join(runner.work_dir, name + ('' if number == 1 else f'_{number}') + extension)
        if is_main_process():
            if osp.exists(path):
                runner.logger.info(f'The semantic edge network is read from {path}.')
                net.load(path)
            else:
                with _randomness_restored():  # a run that finds the file goes on just the same
                    score = self._train(runner, net, ignore_index)
                runner.logger.info('The semantic edge network was trained for '
                                   f'{self.iterations} iterations; F of its edges is {score:.4f}.')
                net.save(path)
                if score < 0.95:
                    runner.logger.warning(
                        'The semantic edge network finds the edges badly: raise iterations of '
                        f'SemanticEdgeNetHook, and delete {path}, which is read otherwise.')
        for tensor in net.buffers():
            broadcast(tensor)

    def _train(self, runner: Runner, net: SemanticEdgeNet, ignore_index: int) -> float:
        """Train a network; gives F of its edges, 0 to 1."""
        detector = SemanticEdgeDetector(
            dict(num_classes=net.num_classes, channels=[len(bias) for _, bias in net.layers[:-1]]),
            crop_size=32,
            ignore_index=ignore_index)
        detector.to(next(net.buffers()).device)
        maps = self._label_maps(runner)

        def windows() -> Tensor:
            labels = detector.windows(random.choices(maps, k=32))
            return labels.to(next(net.buffers()).device).long()

        optimizer = torch.optim.Adam(detector.parameters(), self.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, self.iterations)
        for _ in range(self.iterations):
            optimizer.zero_grad()
            detector.edge_loss(windows()).backward()
            optimizer.step()
            schedule.step()
        counts = []
        with torch.no_grad():
            for own, value in zip(net.buffers(), detector.edge_net.parameters()):
                own.copy_(value)
            for _ in range(20):
                labels = windows()
                edges = detector.edge_net(labels, ignore_index)[-1].argmax(dim=1) == 1
                counts.append(SemanticEdgeMetric.calculate(edges, labels, ignore_index))
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
        # as int16, of a quarter of the memory: class ids are small
        return [random_window(sample.gt_sem_seg.data[0], 256).short() for batch in batches
                for sample in batch['data_samples']]


@contextmanager
def _randomness_restored() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def losses_of(model: nn.Module) -> List[Tuple[SEMEDALoss, nn.Module]]:
    """Find the losses of a model's heads.

    Args:
        model (nn.Module): A segmentor.

    Returns:
        list[tuple[SEMEDALoss, nn.Module]]: Each with its head.

    Raises:
        ValueError: If one was made for another number of classes than its head.
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
