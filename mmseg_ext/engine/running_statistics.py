"""Batch norm in several processes on CPU cores, where synchronised batch norm does not exist."""
from typing import Any, Optional

from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook


class AverageRunningStatisticsHook(Hook):
    """Give all processes the same running statistics: their mean, after each training step.

    Each process normalises with the mean and variance of its own images. Without this hook it also
    gathers running statistics of its own: every process then validates another network, and a
    checkpoint holds the network of the first process. The mean is taken after every step, not only
    before a validation, so that checkpoints, moving averages of the weights and an interrupted run
    find the same statistics. The gradients, which are sent too, have a hundred times their size.

    Note:
        The running mean is the mean of all images, as with synchronised batch norm. The running
        variance is the mean of the processes' variances; it leaves out how far the means of the
        processes lie apart, as in mmengine's ``SyncBuffersHook``. A layer in evaluation mode is
        left alone: its statistics are equal already.
    """

    # before EMAHook (NORMAL) and CheckpointHook (VERY_LOW)
    priority = 'ABOVE_NORMAL'

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        """Average the statistics of the layers that gathered some in this step."""
        statistics = [
            value for layer in runner.model.modules()
            if layer.training and getattr(layer, 'running_mean', None) is not None
            for value in (layer.running_mean, layer.running_var)]
        if statistics:
            all_reduce_params(statistics, op='mean')
