import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmseg_ext.evaluation import StagewiseIoUMetric

META = dict(classes=('a', 'b', 'c'))


def predictions(count=4, stages=3, seed=0, absent=()):
    """Predictions of three classes, the coarse stages without the absent ones, as the labels."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        label = torch.randint(0, 3, (1, 20, 30), generator=generator)
        maps = torch.randint(0, 3, (stages, 20, 30), generator=generator).to(torch.uint8)
        for c in absent:
            label[label == c] = 0
            maps[:-1][maps[:-1] == c] = 1
        label[:, :3] = 255
        out.append(
            dict(
                gt_sem_seg=dict(data=label), stage_sem_seg=dict(data=maps),
                pred_sem_seg=dict(data=maps[-1:].long()), img_path=f'x/{i}.png'))
    return out


def evaluate(metric, samples):
    metric.dataset_meta = META
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


OPTIONS = pytest.mark.parametrize('absent, options', [
    ((), {}), ((2, ), {}), ((2, ), dict(nan_to_num=0)), ((1, 2), dict(nan_to_num=1))])


@OPTIONS
def test_the_finest_stage_is_mmsegs_metric(absent, options):
    metrics = ['mIoU', 'mDice', 'mFscore']
    samples = predictions(absent=absent)
    for sample in samples:  # as absent from the finest stage as from the others
        for c in absent:
            sample['pred_sem_seg']['data'][sample['pred_sem_seg']['data'] == c] = 0
        sample['stage_sem_seg']['data'][-1:] = sample['pred_sem_seg']['data']
    ours = evaluate(StagewiseIoUMetric(iou_metrics=metrics, **options), samples)
    theirs = evaluate(IoUMetric(iou_metrics=metrics, **options), samples)
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value, nan_ok=True)
    assert ours['mIoU_s3'] == ours['mIoU']


@OPTIONS
def test_every_stage_is_what_mmsegs_metric_says_of_it_alone(absent, options):
    ours = evaluate(StagewiseIoUMetric(**options), predictions(absent=absent))
    assert not absent or ours['mIoU_s1'] != ours['mIoU_s3']
    for k in range(3):
        alone = predictions(absent=absent)
        for sample in alone:
            sample['pred_sem_seg']['data'] = sample['stage_sem_seg']['data'][k:k + 1].long()
        assert ours[f'mIoU_s{k + 1}'] == pytest.approx(
            evaluate(IoUMetric(**options), alone)['mIoU'])


def test_an_absent_class_counts_as_nan_to_num():
    """One class is everywhere and right, two are absent: 100, or a third of it."""
    label = torch.zeros(1, 4, 5, dtype=torch.long)
    sample = dict(gt_sem_seg=dict(data=label), stage_sem_seg=dict(data=label.byte()))
    assert evaluate(StagewiseIoUMetric(), [sample])['mIoU_s1'] == 100
    assert evaluate(StagewiseIoUMetric(nan_to_num=0), [sample])['mIoU_s1'] == 33.33


def test_an_image_takes_the_memory_of_four_numbers_a_stage_and_class():
    metric = StagewiseIoUMetric()
    metric.dataset_meta = META
    metric.process({}, predictions(count=2, stages=5))
    assert [counts.shape for counts in metric.results] == [(5, 4, 3)] * 2
    assert all(counts.untyped_storage().nbytes() == 5 * 4 * 3 * 8 for counts in metric.results)


def test_calculate_on_a_hand_counted_map():
    pred = torch.tensor([[0, 1, 1], [2, 2, 0]])
    label = torch.tensor([[0, 1, 2], [2, 255, 1]])
    counts = StagewiseIoUMetric.calculate(pred, label, 3, 255)
    # of three classes each: intersection, union, predicted, true
    assert counts.tolist() == [[1, 1, 1], [2, 3, 2], [2, 2, 1], [1, 2, 2]]


def test_calculate_counts_more_classes_than_a_byte_has():
    pred, label = torch.tensor([[299, 255, 43]]), torch.tensor([[299, 299, 65535]])
    counts = StagewiseIoUMetric.calculate(pred.short(), label, 300, 65535)
    assert counts[:, 299].tolist() == [1, 2, 1, 2] and counts[:, 255].tolist() == [0, 1, 1, 0]
    assert counts[2].sum() == 2


def test_calculate_of_an_all_ignored_map_is_zero():
    label = torch.full((4, 4), 255)
    assert StagewiseIoUMetric.calculate(torch.zeros(4, 4).long(), label, 3, 255).sum() == 0


def test_a_label_outside_the_classes_is_named():
    with pytest.raises(ValueError, match='label map holds the value 7, but classes are 0 to 2'):
        StagewiseIoUMetric.calculate(torch.zeros(1, 2).long(), torch.tensor([[0, 7]]), 3, 255)


def test_predictions_without_stages_are_explained():
    metric = StagewiseIoUMetric()
    metric.dataset_meta = META
    sample = predictions(1)[0]
    del sample['stage_sem_seg']
    with pytest.raises(ValueError, match="model.type='StagewiseEncoderDecoder'"):
        metric.process({}, [sample])


@pytest.mark.parametrize('format_only', [False, True])
def test_predictions_are_written_as_by_mmseg(tmp_path, format_only):
    samples = predictions(2)
    metric = StagewiseIoUMetric(output_dir=str(tmp_path), format_only=format_only)
    result = evaluate(metric, samples)
    assert bool(result) is not format_only
    written = np.array(Image.open(tmp_path / '1.png'))
    assert (written == samples[1]['stage_sem_seg']['data'][-1].numpy()).all()
