import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from mmseg_ext.evaluation.trimap_metric import TrimapMetric
from mmseg_ext.ops import semantic_edges

META = dict(classes=('a', 'b', 'c'))
WIDTHS = (0, 1, 2, 3, 7)


def random_maps(seed, height=17, width=23):
    """Prediction and label map of large blocks, so that there are pixels far from boundaries."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 0, 1, 2, 255], size=(-(-height // 6), -(-width // 6)))
    label = coarse.repeat(6, axis=0).repeat(6, axis=1)[:height, :width]
    pred = np.where(rng.random(label.shape) < 0.6, label, rng.integers(3, size=label.shape))
    return torch.from_numpy(np.where(pred == 255, 0, pred)), torch.from_numpy(label)


def brute_force_distances(label, boundary_to_ignored=False):
    """Distance of each pixel to the nearest boundary pixel by loops over pairs of pixels."""
    label = label.numpy()
    height, width = label.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    boundary = []
    for y, x in pixels:
        neighbours = [
            label[v, u] for v in range(max(0, y - 1), min(height, y + 2))
            for u in range(max(0, x - 1), min(width, x + 2))
        ]
        others = [n for n in neighbours
                  if n != label[y, x] and (n != 255 or boundary_to_ignored)]
        if label[y, x] != 255 and others:
            boundary.append((y, x))
    return torch.tensor([
        min((((y - v)**2 + (x - u)**2)**0.5 for v, u in boundary), default=np.inf)
        for y, x in pixels
    ]).view(height, width)


def sample(pred, label):
    return dict(pred_sem_seg=dict(data=pred[None]), gt_sem_seg=dict(data=label[None]))


def evaluate(metric, samples, meta=META):
    metric.dataset_meta = meta
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


def band_counts(pred, label, width, num_classes=3, **kwargs):
    return TrimapMetric.calculate(pred, label, (width, ), num_classes, **kwargs)


@pytest.mark.parametrize('boundary_to_ignored', [False, True])
@pytest.mark.parametrize('seed', range(6))
def test_each_band_and_its_outside_count_what_brute_force_distances_select(
        seed, boundary_to_ignored):
    pred, label = random_maps(seed)
    distances = brute_force_distances(label, boundary_to_ignored)
    rings = TrimapMetric.calculate(
        pred, label, WIDTHS, 3, boundary_to_ignored=boundary_to_ignored)
    assert rings.shape == (len(WIDTHS) + 1, 3, 3)
    for width, band in zip(WIDTHS, rings.cumsum(dim=0)):
        for counts, part in ((band, distances <= width), (rings.sum(0) - band, distances > width)):
            for c in range(3):
                true, taken = (label == c) & part, (pred == c) & part & (label != 255)
                assert counts[:, c].tolist() == [(true & taken).sum(), taken.sum(), true.sum()]


@pytest.mark.parametrize('width', [5, 17, 50])
def test_the_edge_of_a_band_is_exact_far_from_the_boundary(width):
    """Pixels at integer distance (3-4-5 triangles too) are inside, the next ones are not."""
    label = torch.zeros(120, 120).long()
    label[0, 0] = 1
    boundary = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    y, x = torch.meshgrid(torch.arange(120), torch.arange(120), indexing='ij')
    squared = torch.stack([(y - v)**2 + (x - u)**2 for v, u in boundary]).amin(dim=0)
    inside = band_counts(label, label, width, num_classes=2)[0]
    assert inside[2].sum() == (squared <= width**2).sum()


def test_a_line_of_two_labels_has_both_sides_and_the_pixels_next_to_them():
    label = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    pred = torch.tensor([[1, 0, 0, 0, 1, 0, 1, 1]])
    inside, outside = band_counts(pred, label, 1, num_classes=2)
    assert inside.tolist() == [[2, 1], [3, 1], [2, 2]]
    assert outside.tolist() == [[1, 2], [1, 3], [2, 2]]


@pytest.mark.parametrize('seed', range(3))
def test_the_band_of_width_0_is_the_semantic_edges(seed):
    pred, label = random_maps(seed)
    edges = semantic_edges(label[None])[0]
    assert 0 < edges.sum() < (label != 255).sum()
    inside, outside = band_counts(pred, label, 0)
    for counts, part in ((inside, edges), (outside, ~edges)):
        assert counts[2].tolist() == [((label == c) & part).sum() for c in range(3)]
    metrics = evaluate(TrimapMetric(widths=(0, 1)), [sample(pred, label)])
    for name, part in (('trimap', edges), ('outside', ~edges & (label != 255))):
        accuracy = 100 * (pred == label)[part].float().mean().item()
        assert metrics[f'{name}0_aAcc'] == pytest.approx(accuracy, abs=0.01)


def test_a_diagonal_neighbour_of_another_label_makes_a_boundary():
    label = torch.zeros(5, 5).long()
    label[0, 0] = 1
    # boundary: the corner and its three neighbours; width 1 adds (0, 2), (1, 2), (2, 0), (2, 1)
    inside, outside = band_counts(label, label, 1, num_classes=2)
    assert inside[2].tolist() == [7, 1]
    assert outside[2].tolist() == [17, 0]


def test_the_border_to_ignored_pixels_is_a_boundary_only_if_asked_for():
    label = torch.tensor([[0, 0, 0, 0, 255, 1, 1]])
    pred = label.clamp(max=1)
    assert band_counts(pred, label, 1)[0].sum() == 0
    inside, outside = band_counts(pred, label, 1, boundary_to_ignored=True)
    assert inside[2].tolist() == [2, 2, 0]
    assert outside[2].tolist() == [2, 0, 0]


def test_ignored_pixels_count_nowhere_whatever_they_are_taken_for():
    pred, label = random_maps(1)
    counts = TrimapMetric.calculate(pred, label, WIDTHS, 3)
    assert (label == 255).any() and counts[:, 2].sum() == (label != 255).sum()
    other = torch.where(label == 255, torch.tensor(77), pred)
    assert torch.equal(TrimapMetric.calculate(other, label, WIDTHS, 3), counts)
    minus = torch.where(label == 255, torch.tensor(-1), label)
    assert torch.equal(TrimapMetric.calculate(pred, minus, WIDTHS, 3, ignore_index=-1), counts)


def test_many_classes_are_counted_as_few():
    pred, label = random_maps(2)
    few = TrimapMetric.calculate(pred, label, WIDTHS, 3)
    shift = torch.where(label == 255, 999, label + 300)
    many = TrimapMetric.calculate(pred + 300, shift, WIDTHS, 303, ignore_index=999)
    assert torch.equal(many[:, :, 300:], few)


@pytest.mark.parametrize('label', [torch.zeros(6, 9).long(), torch.full((6, 9), 255)])
def test_an_image_without_boundary_lies_outside_every_band(label):
    counts = TrimapMetric.calculate(torch.zeros(6, 9).long(), label, (1, 1000), 3)
    assert counts[:2].sum() == 0
    assert counts[2, 2].sum() == (label == 0).sum()


def test_a_part_without_pixels_is_nan_and_the_other_is_not():
    label = torch.zeros(6, 9).long()
    metrics = evaluate(TrimapMetric(), [sample(label, label)])
    assert np.isnan([metrics[f'trimap4_{name}'] for name in ('mIoU', 'mAcc', 'aAcc')]).all()
    assert [metrics[f'outside4_{name}'] for name in ('mIoU', 'mAcc', 'aAcc')] == [100, 100, 100]


def test_a_perfect_prediction_has_100_per_cent_everywhere():
    label = random_maps(3)[1]
    metrics = evaluate(TrimapMetric(widths=(1, 2)), [sample(label.clamp(max=2), label)])
    assert set(metrics.values()) == {100.}
    assert sorted(metrics) == sorted(
        f'{part}{width}_{name}' for part in ('trimap', 'outside') for width in (1, 2)
        for name in ('mIoU', 'mAcc', 'aAcc'))


def test_the_metrics_of_a_hand_counted_line():
    """Band of width 1: two pixels of class 0, both right; two of class 1, one taken for 0."""
    label = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    pred = torch.tensor([[1, 0, 0, 0, 1, 0, 1, 1]])
    metrics = evaluate(TrimapMetric(widths=(1, )), [sample(pred, label)])
    assert metrics == dict(
        trimap1_mIoU=58.33, trimap1_mAcc=75., trimap1_aAcc=75.,
        outside1_mIoU=58.33, outside1_mAcc=75., outside1_aAcc=75.)


def test_a_class_that_is_never_true_is_left_out_though_it_is_predicted():
    label = torch.tensor([[0, 0, 1, 1]])
    pred = torch.tensor([[2, 0, 1, 1]])
    metrics = evaluate(TrimapMetric(), [sample(pred, label)])
    assert (metrics['trimap4_mIoU'], metrics['trimap4_mAcc'], metrics['trimap4_aAcc']) == (
        75., 75., 75.)


def test_a_band_that_holds_every_pixel_gives_the_numbers_of_mmsegs_metric():
    samples = [sample(*random_maps(seed)) for seed in range(4)]
    ours = evaluate(TrimapMetric(widths=(1000, )), samples)
    theirs = evaluate(IoUMetric(), samples)
    for name in ('mIoU', 'mAcc', 'aAcc'):
        assert ours[f'trimap1000_{name}'] == pytest.approx(theirs[name], abs=0.01)


def test_several_widths_are_what_each_gives_alone():
    samples = [sample(*random_maps(seed)) for seed in range(3)]
    together = evaluate(TrimapMetric(widths=WIDTHS), samples)
    alone = {}
    for width in WIDTHS:
        alone.update(evaluate(TrimapMetric(widths=(width, )), samples))
    assert together == alone


def test_it_is_evaluated_beside_mmsegs_metric_as_a_runner_does():
    evaluator = Evaluator(
        [dict(type='IoUMetric'), dict(type='TrimapMetric', widths=range(1, 11))])
    evaluator.dataset_meta = META
    for seed in range(4):
        pred, label = random_maps(seed)
        evaluator.process([
            SegDataSample(
                pred_sem_seg=PixelData(data=pred[None]), gt_sem_seg=PixelData(data=label[None]))
        ])
    metrics = evaluator.evaluate(4)
    assert {'mIoU', 'trimap1_mIoU', 'outside10_aAcc'} <= set(metrics)
    assert 0 < metrics['trimap3_mIoU'] < 100


def test_an_evaluation_takes_the_border_to_ignored_pixels_for_a_boundary_if_asked_to():
    label = torch.zeros(1, 12, dtype=torch.int64)
    label[0, 6:] = 255
    pred = torch.zeros_like(label)
    pred[0, 5] = 1  # beside the ignored pixels
    plain, bordered = (evaluate(TrimapMetric(boundary_to_ignored=x), [sample(pred, label)])
                       for x in (False, True))
    assert bordered['trimap4_aAcc'] == 80 and bordered['outside4_aAcc'] == 100
    assert plain['outside4_aAcc'] == 83.33


def test_counts_of_two_processes_merge_to_those_of_one():
    samples = [sample(*random_maps(seed)) for seed in range(5)]
    parts = []
    for part in (samples[::2], samples[1::2]):
        metric = TrimapMetric(widths=WIDTHS)
        metric.dataset_meta = META
        metric.process({}, part)
        parts += pickle.loads(pickle.dumps(metric.results))
    assert len(parts) == len(samples)  # one entry per image: what is padded can be cut off
    assert all(counts.dtype == torch.int64 for counts in parts)
    merged = TrimapMetric(widths=WIDTHS).compute_metrics(parts)
    assert merged == evaluate(TrimapMetric(widths=WIDTHS), samples)


@pytest.mark.parametrize('widths', [
    (), (0, 0), (-1, 1), (-1, ), (3, 1), (2, 2), (1.5, ), 4, 'ab', None])
def test_widths_that_are_no_rising_integers_from_0_on_are_refused(widths):
    with pytest.raises(ValueError, match=r'rising integers, 0 or more, such as \(0, 1, 3, 10\), b'):
        TrimapMetric(widths=widths)


@pytest.mark.parametrize('value', [3, -1, 70000])
def test_a_label_or_prediction_that_is_no_class_is_named(value):
    fine, wrong = torch.tensor([[0, 1]]), torch.tensor([[0, value]])
    with pytest.raises(ValueError, match=f'label map holds the value {value}, .* 0 to 2: check'):
        band_counts(fine, wrong, 1)
    with pytest.raises(ValueError, match=f'prediction holds the value {value}, .*num_classes of'):
        band_counts(wrong, fine, 1)


def test_a_prediction_of_another_size_is_explained():
    with pytest.raises(ValueError, match=r'\(2, 3\), its label map \(4, 6\).*LoadAnnotations beh'):
        band_counts(torch.zeros(2, 3).long(), torch.zeros(4, 6).long(), 1)
