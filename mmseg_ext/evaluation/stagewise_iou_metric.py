from typing import Dict, List, Sequence

import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .confusion import confusion_matrix


@METRICS.register_module()
class StagewiseIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric``, and mIoU, class and pixel accuracy of every stage in the same pass.

    Reports what ``IoUMetric`` reports of the finest stage, under the same names, and for each of
    the K stages ``mIoU_s1``..``mIoU_sK`` in per cent: Table 4 of the LRN paper. Each stage is
    upsampled (bilinear) to the image's size before the comparison, as there (Sec. 5.5).

    Needs the model type ``StagewiseEncoderDecoder``. Test-time augmentation merges the finest stage
    alone: use ``IoUMetric`` with it.

    Args:
        kwargs: Arguments of mmseg's ``IoUMetric``.

    Note:
        Pixels are counted in integers over the whole data set. Classes that occur in neither the
        truth nor the prediction of a stage are left out of that stage's mean, as in mmseg.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch.

        Args:
            data_batch (dict): Unused; part of mmengine's interface.
            data_samples (Sequence[dict]): Predictions with ``stage_sem_seg`` (K, H, W) and
                ``gt_sem_seg`` (1, H, W).

        Raises:
            ValueError: If a prediction carries no stages.
        """
        if self.format_only or self.output_dir is not None:
            # Writing pictures of the finest stage is the parent's work; its counts are not used.
            counted, self.results = self.results, []
            super().process(data_batch, data_samples)
            self.results = counted
        if self.format_only:
            return
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'stage_sem_seg' not in sample:
                raise ValueError(
                    'StagewiseIoUMetric found no stages in the prediction: set '
                    "model.type='StagewiseEncoderDecoder', or use IoUMetric where there are none "
                    '(other heads, --tta).')
            label = sample['gt_sem_seg']['data'].squeeze(0)
            self.results.append(
                torch.stack([
                    self.calculate(stage, label, num_classes, self.ignore_index)
                    for stage in sample['stage_sem_seg']['data']
                ]))

    @staticmethod
    def calculate(pred: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
        """Count pixels by true and predicted class.

        Args:
            pred (Tensor): Predicted classes, (H, W).
            label (Tensor): True classes, (H, W).
            num_classes (int): C.
            ignore_index (int): Label of the pixels that do not count.

        Returns:
            Tensor: Confusion matrix, (C, C) int64 on the CPU: rows are true classes.

        Raises:
            ValueError: If a label is neither a class nor ``ignore_index``.
        """
        return confusion_matrix(pred, label, num_classes, ignore_index)

    def compute_metrics(self, results: List[Tensor]) -> Dict[str, float]:
        """Turn counts into metrics and print the tables.

        Args:
            results (list[Tensor]): A (K, C, C) stack of confusion matrices per image.

        Returns:
            dict[str, float]: ``aAcc``, ``mIoU``, ``mAcc`` of the finest stage and ``mIoU_s{k}``,
            in per cent.
        """
        if self.format_only:
            return super().compute_metrics(results)
        confusions = torch.stack(results).sum(dim=0)
        metrics = super().compute_metrics([_areas(confusions[-1])])
        table = PrettyTable(['Stage', 'mIoU', 'mAcc', 'aAcc'])
        for k, confusion in enumerate(confusions, start=1):
            values = self.total_area_to_metrics(*_areas(confusion))
            row = [round(100 * float(_nanmean(values[key])), 2) for key in ('IoU', 'Acc', 'aAcc')]
            metrics[f'mIoU_s{k}'] = row[0]
            table.add_row([f's_{k}', *row])
        print_log(f'per stage results:\n{table}', MMLogger.get_current_instance())
        return metrics


def _areas(confusion: Tensor) -> tuple:
    """Intersection, union, predicted and true pixels of each class, as mmseg's metric has them."""
    intersect, pred, label = confusion.diagonal(), confusion.sum(dim=0), confusion.sum(dim=1)
    return tuple(x.double() for x in (intersect, pred + label - intersect, pred, label))


def _nanmean(values) -> Tensor:
    return torch.as_tensor(values).nanmean()
