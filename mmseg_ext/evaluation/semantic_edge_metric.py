from typing import Dict, List, Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_ext.ops.semantic_edges import semantic_edges


@METRICS.register_module()
class SemanticEdgeMetric(BaseMetric):
    """Precision, recall and F of a map of edges, against the semantic edges of the label map.

    Pixels are compared one by one, without a tolerance, and counted over the whole data set. It
    says how well a :class:`SemanticEdgeDetector` has learned (the paper's Sec. 3.3 has no measure
    for it).

    Args:
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        kwargs: Arguments of mmengine's ``BaseMetric``.
    """
    default_prefix = 'edge'

    def __init__(self, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch.

        ``pred_sem_seg`` is not 0 at edges, ``gt_sem_seg`` holds labels, both (1, H, W).
        """
        for sample in data_samples:
            self.results.append(self.calculate(
                sample['pred_sem_seg']['data'] != 0, sample['gt_sem_seg']['data'],
                self.ignore_index))

    @staticmethod
    def calculate(pred: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        """Count the edges of maps, bool and labels (N, H, W): edges found rightly, edges found,
        true edges, (3,) int64 on the CPU.
        """
        pred = pred & (label != ignore_index)
        edges = semantic_edges(label, ignore_index)
        return torch.stack([(pred & edges).sum(), pred.sum(), edges.sum()]).cpu()

    def compute_metrics(self, results: List[Tensor]) -> Dict[str, float]:
        """Sum what :meth:`calculate` gave of each image: ``precision``, ``recall`` and ``F`` in per
        cent, NaN where there is nothing to divide by.
        """
        hits, found, true = torch.stack(results).sum(dim=0).double()
        values = dict(precision=hits / found, recall=hits / true, F=2 * hits / (found + true))
        metrics = {name: round(100 * float(value), 3) for name, value in values.items()}
        print_log(f'semantic edges: {metrics}', MMLogger.get_current_instance())
        return metrics
