from abc import abstractmethod
from typing import Sequence

from mmengine.evaluator import BaseMetric
from torch import Tensor


class LabelMapMetric(BaseMetric):
    """Base of the metrics that compare a predicted label map with the ground truth.

    A subclass measures one image in :meth:`measure` and joins the images in ``compute_metrics``.

    Args:
        ignore_index (int): Label of the pixels that do not count.
        kwargs: Arguments of mmengine's ``BaseMetric``: ``collect_device``, ``prefix``.
    """

    def __init__(self, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    @abstractmethod
    def measure(self, pred: Tensor, label: Tensor, num_classes: int) -> Tensor:
        """Measure one image, two label maps (H, W), for ``compute_metrics``; on the CPU.

        Raises a ValueError if the sizes differ, or a valid value is no class.
        """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure a batch of predictions with ``pred_sem_seg`` and ``gt_sem_seg``, (1, H, W) each.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            pred, label = (sample[name]['data'].squeeze(0)
                           for name in ('pred_sem_seg', 'gt_sem_seg'))
            self.results.append(self.measure(pred, label, num_classes))
