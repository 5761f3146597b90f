from typing import Dict, Optional, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from prettytable import PrettyTable
from torch import Tensor


class HardPixelStatistics:
    """How many pixels online bootstrapping keeps, below which threshold, and of which classes.

    Sums over any number of batches. Shapes: N images, C classes. ``labelled`` and ``kept`` are the
    numbers of labelled and of kept pixels of each class, (C,) int64, on the CPU.
    """

    def __init__(self, num_classes: int) -> None:
        self.labelled = torch.zeros(num_classes, dtype=torch.int64)
        self.kept = torch.zeros(num_classes, dtype=torch.int64)
        self._thresholds = torch.zeros(2, dtype=torch.float64)  # their sum and their number

    def update(self, labels: Tensor, kept: Tensor, thresholds: Tensor,
               ignore_index: int = 255) -> None:
        """Add a batch: labels and kept pixels (bool), (N, H, W) each, and its thresholds.

        These are what :func:`thresholds_in_force` gives.
        """
        num_classes = len(self.labelled)
        for counts, where in ((self.labelled, labels != ignore_index), (self.kept, kept)):
            counts += labels[where].bincount(minlength=num_classes).cpu()
        self._thresholds += torch.stack(
            [thresholds.sum(), thresholds.new_tensor(len(thresholds))]).cpu()

    def sum_over_processes(self) -> None:
        """Add what the other processes counted; each of them has to call this."""
        for counts in (self.labelled, self.kept, self._thresholds):
            all_reduce(counts)

    @property
    def scalars(self) -> Dict[str, float]:
        """``kept_fraction`` of the labelled pixels and ``kept_threshold``, the mean threshold.

        A value that is not defined, such as a fraction of no pixels, is left out.
        """
        scalars = {}
        if self.labelled.sum() > 0:
            scalars['kept_fraction'] = (self.kept.sum() / self.labelled.sum()).item()
        if self._thresholds[1] > 0:
            scalars['kept_threshold'] = (self._thresholds[0] / self._thresholds[1]).item()
        return scalars

    def table(self, classes: Optional[Sequence[str]] = None) -> str:
        """Write the classes that occur as a table, by their names or else by their numbers.

        A row has the class's share of the labelled pixels and its share of the kept pixels, both in
        per cent, and the ratio kept / labelled.
        """
        table = PrettyTable(['class', '% of labelled', '% of kept', 'ratio'])
        table.align = 'r'
        table.align['class'] = 'l'
        labelled = 100 * self.labelled / self.labelled.sum()
        kept = 100 * self.kept / self.kept.sum().clamp(min=1)
        for c in self.labelled.nonzero().flatten().tolist():
            table.add_row([classes[c] if classes else c, f'{labelled[c]:.2f}', f'{kept[c]:.2f}',
                           f'{kept[c] / labelled[c]:.2f}'])
        return table.get_string()


def true_class_probability(logits: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    """Probability p_y of each pixel's true class, (N, H, W), from logits (N, C, H, W).

    In float32 or float64; 1 where there is no label.
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    losses = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction='none')
    return losses.neg().exp()


def thresholds_in_force(probability: Tensor, kept: Tensor, thresh: Optional[float],
                        per_image: bool) -> Tensor:
    """Find the threshold t of Eq. 1 after it rose to keep ``min_kept`` pixels.

    The largest p_y of the kept pixels, but at least ``thresh``. Source: section 2.2 of
    `Bridging Category-level and Instance-level Semantic Image Segmentation
    <https://arxiv.org/abs/1605.06885>`_.

    Takes p_y and the kept pixels (bool), (N, H, W); gives one threshold, or N with ``per_image``.
    Without ``thresh``, images in which no pixel is kept have no threshold and are left out.
    """
    groups = len(kept) if per_image else 1
    kept = kept.reshape(groups, -1)
    largest = probability.reshape(groups, -1).masked_fill(~kept, 0).amax(dim=1)
    return largest[kept.any(dim=1)] if thresh is None else largest.clamp(min=thresh)
