from typing import Dict, List, Sequence

import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .confusion import valid_pixels


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
        truth nor the prediction of a stage are left out of that stage's mean, as in mmseg, or
        count as ``nan_to_num``. An image takes the memory of K x 4 x C numbers.
    """

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count a batch of predictions with ``stage_sem_seg`` (K, H, W) and ``gt_sem_seg`` (1, H,
        W).
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
                    "model.type='StagewiseEncoderDecoder', or use IoUMetric (with other heads, and "
                    'with --tta).')
            label = sample['gt_sem_seg']['data'].squeeze(0)
            self.results.append(
                torch.stack([
                    self.calculate(stage, label, num_classes, self.ignore_index)
                    for stage in sample['stage_sem_seg']['data']
                ]))

    @staticmethod
    def calculate(pred: Tensor, label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
        """Count the pixels of each class in two label maps (H, W).

        Returns intersection, union, predicted and true pixels, (4, C) int64 on the CPU. Raises a
        ValueError if the sizes differ or a valid value is no class.
        """
        pred, label = valid_pixels(pred, label, num_classes, ignore_index)
        intersect, predicted, true = (
            torch.bincount(values, minlength=num_classes)
            for values in (label[pred == label], pred, label))
        return torch.stack([intersect, predicted + true - intersect, predicted, true]).cpu()

    def compute_metrics(self, results: List[Tensor]) -> Dict[str, float]:
        """Sum the counts of the images, (K, 4, C) each, and print the tables.

        ``aAcc``, ``mIoU``, ``mAcc`` are those of the finest stage, ``mIoU_s{k}`` that of stage k,
        all in per cent.
        """
        if self.format_only:
            return super().compute_metrics(results)
        stages = sum(results).double().unbind()
        metrics = super().compute_metrics([stages[-1].unbind()])
        table = PrettyTable(['Stage', 'mIoU', 'mAcc', 'aAcc'])
        for k, areas in enumerate(stages, start=1):
            values = self.total_area_to_metrics(*areas, nan_to_num=self.nan_to_num)
            row = [round(100 * float(_nanmean(values[key])), 2) for key in ('IoU', 'Acc', 'aAcc')]
            metrics[f'mIoU_s{k}'] = row[0]
            table.add_row([f's_{k}', *row])
        print_log(f'per stage results:\n{table}', MMLogger.get_current_instance())
        return metrics


def _nanmean(values) -> Tensor:
    return torch.as_tensor(values).nanmean()
