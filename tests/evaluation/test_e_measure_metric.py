import pickle
from itertools import product

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.evaluation import e_measure_metric
from mmseg_ext.evaluation.e_measure_metric import EMeasureMetric, e_measure

META = dict(classes=('a', 'b', 'c'))
EPS = 2.0**-52


def published_measure(prediction, truth):
    """The published definition, pixel by pixel, of two flat binary maps."""
    num_pixels = len(truth)
    mean_prediction, mean_truth = sum(prediction) / num_pixels, sum(truth) / num_pixels
    total = 0.
    for taken, true in zip(prediction, truth):
        if sum(truth) == 0:
            total += 1 - taken
        elif sum(truth) == num_pixels:
            total += taken
        else:
            a, b = true - mean_truth, taken - mean_prediction
            alignment = 2 * a * b / (a * a + b * b + EPS)
            total += (alignment + 1)**2 / 4
    return total / (num_pixels - 1 + EPS)


def random_maps(seed, height=13, width=11):
    """Prediction and label map of three classes of very different size, with ignored pixels."""
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 255], p=[0.7, 0.2, 0.05, 0.05], size=(height, width))
    pred = np.where(rng.random(label.shape) < 0.7, label, rng.integers(3, size=label.shape))
    return torch.from_numpy(np.where(pred == 255, 0, pred)), torch.from_numpy(label)


def sample(pred, label):
    return dict(pred_sem_seg=dict(data=pred[None]), gt_sem_seg=dict(data=label[None]))


def evaluate(samples, meta=META, **kwargs):
    metric = EMeasureMetric(**kwargs)
    metric.dataset_meta = meta
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


def measure(pred, label, num_classes=2, **kwargs):
    return EMeasureMetric.calculate(
        torch.tensor(pred), torch.tensor(label), num_classes, **kwargs).tolist()


def test_every_pair_of_binary_maps_of_six_pixels_is_measured_as_published():
    """Among them all that are empty, full, equal, complementary."""
    maps = list(product((0, 1), repeat=6))
    pairs = list(product(maps, maps))
    pred, label = (torch.tensor(maps) for maps in zip(*pairs))
    hits, taken, true = pred * label, pred, label
    counts = torch.stack([hits.sum(1), taken.sum(1), true.sum(1)], dim=1)
    # class 0 is what is left: only its true pixels are needed, for the size of the image
    rest = torch.stack([torch.zeros(len(pairs)), torch.zeros(len(pairs)), 6 - true.sum(1)], dim=1)
    ours = e_measure(torch.stack([rest, counts], dim=2))[:, 1]
    published = [published_measure(*pair) for pair in pairs]
    torch.testing.assert_close(ours.tolist(), published, rtol=0, atol=1e-12)


@pytest.mark.parametrize('seed', range(8))
def test_each_class_is_measured_by_its_binary_map_of_the_pixels_that_count(seed):
    pred, label = random_maps(seed)
    known = label != 255
    published = [
        published_measure((pred[known] == c).long().tolist(), (label[known] == c).long().tolist())
        for c in range(3)
    ]
    ours = EMeasureMetric.calculate(pred, label, 3)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours.tolist(), published, rtol=0, atol=1e-12)


def test_a_map_measured_by_hand():
    """Means 1/4 and 1/2: alignment 12/13 of the hit, -4/5 of the false alarm, 4/5 of the rest."""
    by_hand = ((25 / 26)**2 + 0.1**2 + 2 * 0.9**2) / 3
    assert measure([[1, 1], [0, 0]], [[1, 0], [0, 0]])[1] == pytest.approx(by_hand, abs=1e-12)


def test_a_perfect_map_exceeds_one_by_the_published_division_and_its_complement_is_zero():
    label = [[0, 0, 1, 1, 1]]
    assert measure(label, label) == pytest.approx([5 / 4, 5 / 4], abs=1e-12)
    assert measure([[1, 1, 0, 0, 0]], label) == pytest.approx([0, 0], abs=1e-12)


def test_a_class_that_is_missed_wholly_or_taken_for_the_whole_image_has_a_quarter():
    label = [[0, 0, 0, 0, 1]]
    for pred in ([[0] * 5], [[1] * 5]):
        assert measure(pred, label) == pytest.approx([5 / 16, 5 / 16], abs=1e-12)


def test_a_class_that_fills_the_image_has_the_share_that_was_found():
    found, absent = measure([[1, 1, 1, 0, 0]], [[1] * 5])[::-1]
    assert found == pytest.approx(3 / 4, abs=1e-12)
    assert np.isnan(absent)


def test_a_false_alarm_counts_only_if_asked_for():
    pred, label = [[0, 0, 0, 2, 1]], [[0, 0, 0, 0, 1]]
    assert np.isnan(measure(pred, label, 4)[2:]).all()
    _, _, alarm, absent = measure(pred, label, 4, count_false_alarms=True)
    assert alarm == pytest.approx(1, abs=1e-12)  # 4 of 5 pixels, over 5 - 1
    assert np.isnan(absent)
    samples = [sample(torch.tensor(pred), torch.tensor(label))]
    both = [evaluate(samples, count_false_alarms=flag)['mE'] for flag in (False, True)]
    first, second = measure(pred, label, 3)[:2]
    assert both == [round(50 * (first + second), 2), round(100 * (first + second + 1) / 3, 2)]


def test_ignored_pixels_change_nothing_whatever_they_are_taken_for():
    pred, label = random_maps(1)
    scores = EMeasureMetric.calculate(pred, label, 3)
    assert (label == 255).any()
    other = torch.where(label == 255, torch.tensor(77), pred)
    assert torch.equal(EMeasureMetric.calculate(other, label, 3), scores)
    minus = torch.where(label == 255, torch.tensor(-1), label)
    assert torch.equal(EMeasureMetric.calculate(pred, minus, 3, ignore_index=-1), scores)
    known = label != 255
    assert torch.equal(EMeasureMetric.calculate(pred[known][None], label[known][None], 3), scores)


@pytest.mark.parametrize('label', [[[255, 255, 255]], [[255, 1, 255]]])
def test_an_image_of_fewer_than_two_counted_pixels_counts_for_no_class(label):
    assert np.isnan(measure([[1, 1, 1]], label)).all()
    empty = sample(torch.ones(1, 3).long(), torch.tensor(label))
    full = sample(*random_maps(0))
    assert evaluate([empty, full]) == evaluate([full])
    assert np.isnan(evaluate([empty])['mE'])


def test_the_mean_is_taken_over_images_first_and_over_classes_then():
    """Class 1 is perfect in one image and missed in the other, class 0 occurs in all three."""
    label, missed = torch.tensor([[0, 0, 0, 0, 1]]), torch.zeros(1, 5).long()
    samples = [sample(label, label), sample(missed, label), sample(missed, missed)]
    # per image and class: (5/4, 5/4), (5/16, 5/16), (5/4, not true)
    of_class_0, of_class_1 = (5 / 4 + 5 / 16 + 5 / 4) / 3, (5 / 4 + 5 / 16) / 2
    assert evaluate(samples) == dict(mE=round(50 * (of_class_0 + of_class_1), 2))


def test_the_table_has_each_class_and_its_number_of_images(monkeypatch):
    printed = []
    monkeypatch.setattr(e_measure_metric, 'print_log', lambda text, logger: printed.append(text))
    label = torch.tensor([[0, 0, 0, 0, 1]])
    evaluate([sample(label, label), sample(torch.zeros_like(label), torch.zeros_like(label))])
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in printed[0].splitlines() if line.startswith('|')]
    assert rows == [['Class', 'E-measure', 'Images'], ['a', '125.0', '2'], ['b', '125.0', '1'],
                    ['c', 'nan', '0']]


def test_a_perfect_prediction_of_an_image_of_usual_size_has_100_per_cent():
    label = torch.arange(3).repeat_interleave(60)[None].expand(200, -1)
    assert evaluate([sample(label, label)]) == dict(mE=100.)


def test_it_is_evaluated_beside_mmsegs_metric_as_a_runner_does():
    evaluator = Evaluator([
        dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice']), dict(type='EMeasureMetric')])
    evaluator.dataset_meta = META
    for seed in range(3):
        pred, label = random_maps(seed)
        evaluator.process([
            SegDataSample(
                pred_sem_seg=PixelData(data=pred[None]), gt_sem_seg=PixelData(data=label[None]))
        ])
    metrics = evaluator.evaluate(3)
    assert {'mIoU', 'mDice', 'mE'} <= set(metrics)
    assert 0 < metrics['mE'] < 100


def test_two_processes_merge_to_the_result_of_one():
    samples = [sample(*random_maps(seed)) for seed in range(5)]
    parts = []
    for part in (samples[::2], samples[1::2]):
        metric = EMeasureMetric()
        metric.dataset_meta = META
        metric.process({}, part)
        parts += pickle.loads(pickle.dumps(metric.results))
    assert len(parts) == len(samples)  # one entry per image: what is padded can be cut off
    assert metric.compute_metrics(parts) == evaluate(samples)


@pytest.mark.parametrize('value', [3, -1, 70000])
def test_a_label_or_prediction_that_is_no_class_is_named(value):
    fine, wrong = [[0, 1]], [[0, value]]
    with pytest.raises(ValueError, match=f'label map holds the value {value}, .* 0 to 2: check'):
        measure(fine, wrong, 3)
    with pytest.raises(ValueError, match=f'prediction holds the value {value}, .*num_classes of'):
        measure(wrong, fine, 3)


def test_a_prediction_of_another_size_is_explained():
    with pytest.raises(ValueError, match=r'\(1, 2\), its label map \(1, 3\).*LoadAnnotations beh'):
        measure([[0, 0]], [[0, 0, 0]])
