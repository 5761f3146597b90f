import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from mmseg_ext.evaluation.f1_metric import F1Metric

META = dict(classes=('a', 'b', 'c', 'd', 'e'))
GROUPS = dict(pair=(1, 3), one=(2, ), inner=(1, 2, 3, 4), all=range(5))


def random_maps(seed, height=11, width=13, classes=5):
    """Prediction and label map, half of it right, with ignored pixels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(classes, size=(height, width))
    pred = np.where(rng.random(label.shape) < 0.5, label, rng.integers(classes, size=label.shape))
    label[rng.random(label.shape) < 0.1] = 255
    return torch.from_numpy(pred), torch.from_numpy(label)


def f1_by_loop(maps, labels):
    """F1 in per cent of the union of some classes, pixel by pixel over all images."""
    hits = taken = true = 0
    for pred, label in maps:
        for p, t in zip(pred.flatten().tolist(), label.flatten().tolist()):
            if t != 255:
                hits += p in labels and t in labels
                taken += p in labels
                true += t in labels
    return 100 * 2 * hits / (taken + true)


def sample(pred, label):
    return dict(pred_sem_seg=dict(data=pred[None]), gt_sem_seg=dict(data=label[None]))


def evaluate(metric, maps, meta=META):
    metric.dataset_meta = meta
    metric.process({}, [sample(*pair) for pair in maps])
    return metric.evaluate(size=len(maps))


def line(*values):
    return torch.tensor([values])


def test_classes_and_groups_are_what_a_loop_over_all_pixels_counts():
    # of unequal size: a mean over images would be another number
    maps = [random_maps(0), random_maps(1, 3, 4), random_maps(2, 20, 6)]
    metrics = evaluate(F1Metric(groups=GROUPS), maps)
    mean = np.mean([f1_by_loop(maps, {c}) for c in range(5)])
    assert metrics.pop('mF1') == pytest.approx(mean, abs=0.005)
    assert metrics == {
        f'F1_{name}': pytest.approx(f1_by_loop(maps, set(labels)), abs=0.005)
        for name, labels in GROUPS.items()
    }


def test_calculate_on_a_hand_counted_line():
    label = line(0, 0, 1, 1, 2, 255)
    pred = line(0, 1, 2, 1, 1, 2)
    counts = F1Metric.calculate(pred, label, 4, dict(pair=(1, 2), other=(0, 3)))
    assert counts.dtype == torch.int64
    #                          0  1  2  3  pair other
    assert counts.tolist() == [[1, 1, 0, 0, 3, 1],  # hits
                               [1, 3, 1, 0, 4, 1],  # taken for it
                               [2, 2, 1, 0, 3, 2]]  # true


def test_members_of_a_group_that_are_taken_for_each_other_are_hits_of_the_group_alone():
    metrics = evaluate(F1Metric(groups=dict(brows=(1, 2))), [(line(0, 2, 1), line(0, 1, 2))])
    assert metrics == dict(mF1=33.33, F1_brows=100.)


def test_a_group_of_one_class_has_the_f1_of_the_class_and_one_of_all_100():
    maps = [random_maps(3)]
    metrics = evaluate(F1Metric(groups=GROUPS), maps)
    assert metrics['F1_one'] == pytest.approx(f1_by_loop(maps, {2}), abs=0.005)
    assert metrics['F1_all'] == 100.


def test_absent_classes_are_left_out_of_the_mean_and_missed_or_invented_ones_are_0():
    """0 is right, 1 is missed, 2 is only predicted, 3 and 4 do not occur."""
    maps = [(line(0, 0, 2), line(0, 0, 1))]
    metrics = evaluate(F1Metric(groups=dict(absent=(3, 4), missed=(1, 3))), maps)
    assert metrics.pop('mF1') == 33.33
    assert np.isnan(metrics.pop('F1_absent'))
    assert metrics == dict(F1_missed=0.)


def test_the_mean_is_mmsegs_mdice_and_not_its_mfscore():
    maps = [(line(0, 0, 2), line(0, 0, 1))]
    theirs = evaluate(IoUMetric(iou_metrics=['mDice', 'mFscore']), maps)
    assert evaluate(F1Metric(), maps) == dict(mF1=pytest.approx(theirs['mDice'], abs=0.01))
    assert theirs['mFscore'] == 100.  # the classes without a hit are NaN there


def test_without_a_counted_pixel_everything_is_nan():
    maps = [(line(0, 1), line(255, 255))]
    assert np.isnan(list(evaluate(F1Metric(groups=GROUPS), maps).values())).all()


def test_ignored_pixels_count_nowhere_whatever_they_are_taken_for():
    pred, label = random_maps(4)
    counts = F1Metric.calculate(pred, label, 5, GROUPS)
    other = torch.where(label == 255, torch.tensor(77), pred)
    assert torch.equal(F1Metric.calculate(other, label, 5, GROUPS), counts)
    minus = torch.where(label == 255, torch.tensor(-1), label)
    assert torch.equal(F1Metric.calculate(pred, minus, 5, GROUPS, ignore_index=-1), counts)


def test_label_maps_of_uint8_are_counted_as_those_of_int64():
    pred, label = random_maps(5, classes=100)
    few = F1Metric.calculate(pred, label, 100, GROUPS)
    assert torch.equal(F1Metric.calculate(pred, label.to(torch.uint8), 100, GROUPS), few)


def test_the_tables_name_every_class_and_group(monkeypatch):
    printed = []
    monkeypatch.setattr('mmseg_ext.evaluation.f1_metric.print_log',
                        lambda text, logger: printed.append(text))
    evaluate(F1Metric(groups=dict(pair=(1, 2))), [(line(0, 2, 1), line(0, 1, 2))])
    rows = [[cell.strip() for cell in row.strip('|').split('|')]
            for table in printed for row in table.splitlines() if row.startswith('|')]
    assert rows == [['Class', 'F1'], ['a', '100.0'], ['b', '0.0'], ['c', '0.0'], ['d', 'nan'],
                    ['e', 'nan'], ['Group', 'F1'], ['pair', '100.0']]


def test_it_is_evaluated_beside_mmsegs_metric_as_a_runner_does():
    evaluator = Evaluator([
        dict(type='IoUMetric', iou_metrics=['mIoU']), dict(type='F1Metric', groups=GROUPS)])
    evaluator.dataset_meta = META
    for seed in range(3):
        pred, label = random_maps(seed)
        evaluator.process([
            SegDataSample(
                pred_sem_seg=PixelData(data=pred[None]), gt_sem_seg=PixelData(data=label[None]))
        ])
    metrics = evaluator.evaluate(3)
    assert metrics['mIoU'] < metrics['mF1'] < metrics['F1_inner'] < 100


def test_counts_of_two_processes_merge_to_those_of_one():
    maps = [random_maps(seed) for seed in range(5)]
    parts = []
    for part in (maps[::2], maps[1::2]):
        metric = F1Metric(groups=GROUPS)
        metric.dataset_meta = META
        metric.process({}, [sample(*pair) for pair in part])
        parts += pickle.loads(pickle.dumps(metric.results))
    assert len(parts) == len(maps)  # one entry per image: what is padded can be cut off
    merged = F1Metric(groups=GROUPS)
    merged.dataset_meta = META
    assert merged.compute_metrics(parts) == evaluate(F1Metric(groups=GROUPS), maps)


@pytest.mark.parametrize('labels', [(), 3, (1, 1), (-1, 2), (1.5, ), 'ab', None, ((1, 2), )])
def test_a_group_that_is_no_list_of_different_labels_is_refused(labels):
    with pytest.raises(ValueError, match="group 'brows' must be a list .*such as .2, 3., but is"):
        F1Metric(groups=dict(eyes=(4, 5), brows=labels))


def test_a_group_with_a_label_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="group 'hair' holds the label 5, but classes are 0 to 4"):
        evaluate(F1Metric(groups=dict(hair=(0, 5))), [random_maps(0)])


@pytest.mark.parametrize('value', [5, -1, 70000])
def test_a_label_or_prediction_that_is_no_class_is_named(value):
    fine, wrong = line(0, 1), line(0, value)
    with pytest.raises(ValueError, match=f'label map holds the value {value}, .* 0 to 4: check'):
        F1Metric.calculate(fine, wrong, 5)
    with pytest.raises(ValueError, match=f'prediction holds the value {value}, .*num_classes of'):
        F1Metric.calculate(wrong, fine, 5)


def test_a_prediction_of_another_size_is_explained():
    with pytest.raises(ValueError, match=r'\(2, 3\), its label map \(4, 6\).*LoadAnnotations beh'):
        F1Metric.calculate(torch.zeros(2, 3).long(), torch.zeros(4, 6).long(), 5)
