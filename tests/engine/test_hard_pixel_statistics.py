import pytest
import torch

from mmseg_ext.engine import hard_pixel_statistics
from mmseg_ext.engine.hard_pixel_statistics import (
    HardPixelStatistics,
    thresholds_in_force,
    true_class_probability,
)


def test_counts_of_batches_add_up():
    statistics = HardPixelStatistics(3)
    labels = torch.tensor([[[0, 0, 2, 255]]])
    kept = torch.tensor([[[True, False, True, False]]])
    statistics.update(labels, kept, torch.tensor([0.5]))
    statistics.update(labels, ~kept & (labels != 255), torch.tensor([0.6, 0.7]))
    assert statistics.labelled.tolist() == [4, 0, 2]
    assert statistics.kept.tolist() == [2, 0, 1]
    assert statistics.scalars == pytest.approx(dict(kept_fraction=0.5, kept_threshold=0.6))


def test_the_counts_of_all_processes_are_added(monkeypatch):
    """Another process has counted 3 pixels of each class, and thresholds of other mean and number:
    0.9 three times, beside 0.5 once here."""
    others = iter([torch.tensor([3, 3]), torch.tensor([1, 2]),
                   torch.tensor([2.7, 3.], dtype=torch.float64)])
    monkeypatch.setattr(hard_pixel_statistics, 'all_reduce', lambda mine: mine.add_(next(others)))
    statistics = HardPixelStatistics(2)
    labels = torch.tensor([[[0, 0, 1]]])
    statistics.update(labels, labels == 1, torch.tensor([0.5]))
    statistics.sum_over_processes()
    assert statistics.labelled.tolist() == [5, 4] and statistics.kept.tolist() == [1, 3]
    assert statistics.scalars == pytest.approx(dict(kept_fraction=4 / 9, kept_threshold=0.8))


def test_what_is_not_defined_is_left_out():
    statistics = HardPixelStatistics(3)
    assert statistics.scalars == {}
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    statistics.update(labels, labels > 0, torch.tensor([]))
    assert statistics.scalars == dict(kept_fraction=0.)


def test_the_table_sets_the_shares_side_by_side_and_leaves_absent_classes_out():
    statistics = HardPixelStatistics(3)
    labels = torch.tensor([[[0, 0, 0, 2]]])
    statistics.update(labels, torch.tensor([[[False, False, True, True]]]), torch.tensor([0.5]))
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in statistics.table(('sky', 'car', 'pole')).splitlines() if '|' in line]
    assert rows[1:] == [['sky', '75.00', '50.00', '0.67'], ['pole', '25.00', '50.00', '2.00']]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_probability_is_that_of_the_true_class(dtype):
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = torch.arange(40).reshape(2, 4, 5) % 3
    labels[0, 0, 0] = 255
    probability = true_class_probability(logits, labels)
    softmax = logits.double().softmax(dim=1)
    for n, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)):
        label = labels[n, y, x]
        expected = 1. if label == 255 else softmax[n, label, y, x].item()
        assert probability[n, y, x].item() == pytest.approx(expected, rel=1e-5)


# p_y of two images, kept: 0.3 and 0.9 of the first, nothing of the second
@pytest.mark.parametrize('thresh, per_image, expected', [
    (None, False, [0.9]),  # the largest kept p_y
    (0.6, False, [0.9]),  # it rose
    (0.95, False, [0.95]),  # it did not have to
    (None, True, [0.9]),  # an image without a kept pixel has none
    (0.6, True, [0.9, 0.6]),
])
def test_the_threshold_in_force(thresh, per_image, expected):
    probability = torch.tensor([[[0.3, 0.9, 0.99]], [[0.99, 0.98, 1.]]])
    kept = torch.tensor([[[True, True, False]], [[False, False, False]]])
    thresholds = thresholds_in_force(probability, kept, thresh, per_image)
    assert thresholds.tolist() == pytest.approx(expected)
