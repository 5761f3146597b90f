import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmseg_ext.evaluation import StagewiseIoUMetric

META = dict(classes=('a', 'b', 'c'))


def predictions(count=4, stages=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    out = []
    for i in range(count):
        label = torch.randint(0, 3, (1, 20, 30), generator=generator)
        label[:, :3] = 255
        maps = torch.randint(0, 3, (stages, 20, 30), generator=generator).to(torch.uint8)
        out.append(
            dict(
                gt_sem_seg=dict(data=label), stage_sem_seg=dict(data=maps),
                pred_sem_seg=dict(data=maps[-1:].long()), img_path=f'x/{i}.png'))
    return out


def evaluate(metric, samples):
    metric.dataset_meta = META
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


def test_the_finest_stage_is_mmsegs_metric():
    ours = evaluate(StagewiseIoUMetric(), predictions())
    theirs = evaluate(IoUMetric(), predictions())
    for key, value in theirs.items():
        assert ours[key] == pytest.approx(value)
    assert ours['mIoU_s3'] == ours['mIoU']


def test_every_stage_is_what_mmsegs_metric_says_of_it_alone():
    ours = evaluate(StagewiseIoUMetric(), predictions())
    for k in range(3):
        alone = predictions()
        for sample in alone:
            sample['pred_sem_seg']['data'] = sample['stage_sem_seg']['data'][k:k + 1].long()
        assert ours[f'mIoU_s{k + 1}'] == pytest.approx(evaluate(IoUMetric(), alone)['mIoU'])


def test_calculate_on_a_hand_counted_map():
    pred = torch.tensor([[0, 1, 1], [2, 2, 0]])
    label = torch.tensor([[0, 1, 2], [2, 255, 1]])
    counts = StagewiseIoUMetric.calculate(pred, label, 3, 255)
    assert counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]


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
