from typing import Dict, List, Mapping, Optional, Sequence

import torch
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from .confusion import confusion_matrix, per_cent
from .label_map_metric import LabelMapMetric


@METRICS.register_module()
class F1Metric(LabelMapMetric):
    """F1 of every class, its mean, and F1 of groups of classes taken as one.

    The second measure of SEMEDA's Tables 2 and 3, and the measure of its Table 6 (parts of a face).
    From the pixels of the whole data set, F1 = 2 hits / (predicted + true pixels). In a group a
    pixel is a hit if its label and its prediction are both of the group: a left brow taken for a
    right one is a brow.

    Reported in per cent: ``mF1``, and ``F1_{name}`` of each group. The tables in the log have the
    value of each class too.

    Note:
        A class or group without a true and without a predicted pixel is NaN and left out of the
        mean; one that is missed altogether, or only predicted, is 0. So ``mF1`` is the ``mDice``
        of mmseg's ``IoUMetric``; its ``mFscore`` leaves out the classes that are 0 as well, which
        raises the mean. Background is a class like others. Ignored pixels do not count.

        The paper leaves open whether Table 6 sums over images or averages their values, and which
        parts 'overall' joins. Ours: sums, and in the config all but background, skin and hair.

    Args:
        groups (dict[str, Sequence[int]], optional): Name to labels of each group; a label may be in
            several. Defaults to None, no group.
        ignore_index (int): Label of the pixels that do not count. Defaults to 255.
        **kwargs: Arguments of mmengine's ``BaseMetric``: ``collect_device``, ``prefix``.

    Raises:
        ValueError: If a group is not a list of different labels.

    Examples:
        >>> val_evaluator = [dict(type='IoUMetric'),
        ...                  dict(type='F1Metric', groups=dict(brows=(2, 3), eyes=(4, 5)))]
    """

    def __init__(self,
                 groups: Optional[Mapping[str, Sequence[int]]] = None,
                 ignore_index: int = 255,
                 **kwargs) -> None:
        super().__init__(ignore_index, **kwargs)
        self.groups = {name: _labels(name, labels) for name, labels in (groups or {}).items()}

    def measure(self, pred: Tensor, label: Tensor, num_classes: int) -> Tensor:
        """Count one image, see :meth:`calculate`."""
        return self.calculate(pred, label, num_classes, self.groups, self.ignore_index)

    @staticmethod
    def calculate(pred: Tensor,
                  label: Tensor,
                  num_classes: int,
                  groups: Optional[Mapping[str, Sequence[int]]] = None,
                  ignore_index: int = 255) -> Tensor:
        """Count the pixels of an image, two label maps (H, W), by class and by group.

        Returns (3, C + G) int64 on the CPU, classes first: of each the pixels that are it and were
        taken for it, that were taken for it, and that are it. Raises a ValueError if the sizes
        differ, or a valid value or a label of a group is no class.
        """
        member = _members(groups or {}, num_classes)
        confusion = confusion_matrix(pred, label, num_classes, ignore_index)
        hits = ((member @ confusion) * member).sum(dim=1)
        return torch.stack([hits, member @ confusion.sum(dim=0), member @ confusion.sum(dim=1)])

    def compute_metrics(self, results: List[Tensor]) -> Dict[str, float]:
        """Turn what :meth:`calculate` gave of each image into F1, and print the tables.

        ``mF1`` and ``F1_{name}`` of each group are in per cent, NaN where there are no pixels.
        """
        hits, taken, true = torch.stack(results).sum(dim=0).double()
        values = 2 * hits / (taken + true)
        classes = self.dataset_meta['classes']
        of_class, of_group = values[:len(classes)], values[len(classes):]
        _print_table('class', classes, of_class)
        if self.groups:
            _print_table('group', self.groups, of_group)
        return dict(
            mF1=per_cent(of_class.nanmean()),
            **{f'F1_{name}': per_cent(value) for name, value in zip(self.groups, of_group)})


def _labels(name: str, labels: Sequence[int]) -> List[int]:
    """The labels of a group as a list."""
    fine = isinstance(labels, Sequence) and all(isinstance(i, int) and i >= 0 for i in labels)
    if not fine or not len(labels) == len(set(labels)) > 0:
        raise ValueError(f"The group '{name}' must be a list of different labels, such as (2, 3), "
                         f'but is {labels!r}.')
    return list(labels)


def _members(groups: Mapping[str, Sequence[int]], num_classes: int) -> Tensor:
    """Which classes count for what is reported, (C + G, C) int64: each for itself, then groups."""
    member = torch.zeros(len(groups), num_classes, dtype=torch.int64)
    for row, (name, labels) in zip(member, groups.items()):
        if max(labels) >= num_classes:
            raise ValueError(f"The group '{name}' holds the label {max(labels)}, but classes are "
                             f'0 to {num_classes - 1}: correct the groups of F1Metric.')
        row[list(labels)] = 1
    return torch.cat([torch.eye(num_classes, dtype=torch.int64), member])


def _print_table(what: str, names: Sequence[str], values: Tensor) -> None:
    table = PrettyTable([what.capitalize(), 'F1'])
    for name, value in zip(names, values):
        table.add_row([name, per_cent(value)])
    print_log(f'per {what} results:\n{table}', MMLogger.get_current_instance())
