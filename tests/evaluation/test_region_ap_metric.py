"""mAP^r by hand, by loops, and of two processes: this file is also what each of them runs."""
import atexit
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.engine.cpu_training import leave_process_group
from mmseg_ext.evaluation import RegionAPMetric
from mmseg_ext.evaluation.region_ap_metric import VOLUME, average_precision

META = dict(classes=('background', 'cat', 'dog', 'cow'))
PROTOCOLS = ('sds', 'mnc')
each_protocol = pytest.mark.parametrize('protocol', PROTOCOLS)


def sample(detections, instances, label_map):
    """Data sample of detections (mask, label, score) and two maps, all as nested lists."""
    instances, label_map = torch.tensor(instances).int(), torch.tensor(label_map)
    masks = [torch.tensor(mask).bool() for mask, _, _ in detections]
    return dict(
        pred_instances=dict(
            masks=torch.stack(masks) if masks else torch.zeros(0, *label_map.shape).bool(),
            labels=torch.tensor([label for _, label, _ in detections]).long(),
            scores=torch.tensor([score for _, _, score in detections]).float()),
        gt_instances=dict(data=instances[None]),
        gt_sem_seg=dict(data=label_map[None]))


def evaluate(samples, **arguments):
    metric = RegionAPMetric(**arguments)
    metric.dataset_meta = META
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


def line(first, last, pixels=20):
    """A mask or map of one row, 1 from one pixel to another."""
    return [[int(first <= x <= last) for x in range(pixels)]]


def two_cats(*detections):
    """A line of 20 pixels: instance 1 is its first half, 2 the other; both are cats."""
    return sample(detections, [[1] * 10 + [2] * 10], [[1] * 20])


def random_sample(seed, height=9, width=11):
    """Overlapping boxes, of which some are detected about where they are; ignored pixels."""
    rng = np.random.default_rng(seed)
    instances, label_map = np.zeros((2, height, width), dtype=int)
    detections = []
    for number in rng.permutation(7)[:rng.integers(0, 5)] + 1:
        y, x, label = rng.integers(height - 3), rng.integers(width - 3), rng.integers(1, 4)
        h, w = rng.integers(2, 7, 2)
        instances[y:y + h, x:x + w] = number
        label_map[y:y + h, x:x + w] = label
        for _ in range(rng.integers(0, 4)):
            mask = np.zeros((height, width), dtype=bool)
            up, left = max(y + rng.integers(-1, 2), 0), max(x + rng.integers(-1, 2), 0)
            mask[up:up + h, left:left + w] = True
            guess = label if rng.random() < 0.8 else rng.integers(1, 4)
            detections.append((mask.tolist(), guess, rng.integers(1, 9) / 8))  # some are equal
    label_map[rng.random(label_map.shape) < 0.1] = 255
    label_map[rng.random(label_map.shape) < 0.05] = 0
    return sample(detections, instances.tolist(), label_map.tolist())


def by_loops(samples, protocol, threshold):
    """mAP^r of one threshold, pixel by pixel and detection by detection."""
    found, number_of = {}, {}
    for image in samples:
        instances, label_map = (
            image[name]['data'][0].flatten().tolist() for name in ('gt_instances', 'gt_sem_seg'))
        pixels = [p for p in range(len(label_map)) if label_map[p] != 255]
        truth = {}
        for number in sorted({instances[p] for p in pixels} - {0}):
            inside = {p for p in pixels if instances[p] == number}
            votes = [sum(label_map[p] == c for p in inside) for c in range(4)]
            label = votes.index(max(votes))
            if label > 0:
                truth[number] = label, inside
                number_of[label] = number_of.get(label, 0) + 1
        predicted = image['pred_instances']
        detections = sorted(
            zip(predicted['scores'].tolist(), predicted['labels'].tolist(),
                predicted['masks'].flatten(1).tolist()), key=lambda one: -one[0])
        taken = set()
        for score, label, mask in detections:
            mask = {p for p in pixels if mask[p]}
            best, best_iou = None, 0
            for number, (of_label, inside) in truth.items():
                iou = len(mask & inside) / len(mask | inside)
                if of_label == label and iou > best_iou and not (
                        protocol == 'sds' and number in taken):
                    best, best_iou = number, iou
            enough = best_iou > threshold if protocol == 'sds' else best_iou >= threshold
            hit = enough and best not in taken
            if hit:
                taken.add(best)
            found.setdefault(label, []).append((score, hit))
    values = []
    for label, number in number_of.items():
        curve = []  # recall and precision at each score
        for score in {score for score, _ in found.get(label, [])}:
            chosen = [hit for other, hit in found[label] if other >= score]
            curve.append((sum(chosen) / number, sum(chosen) / len(chosen)))
        if protocol == 'mnc':
            levels, weights = [k / 10 for k in range(11)], [1 / 11] * 11
        else:
            levels = sorted({recall for recall, _ in curve})
            weights = np.diff([0, *levels])
        values.append(sum(
            weight * max([p for recall, p in curve if recall > level - 1e-9], default=0)
            for level, weight in zip(levels, weights)))
    return 100 * np.mean(values)


@each_protocol
def test_it_is_what_loops_give(protocol):
    samples = [random_sample(seed) for seed in range(25)]
    metrics = evaluate(samples, protocol=protocol, thresholds=(0.25, 0.5, 0.6))
    values = {t: by_loops(samples, protocol, t) for t in (0.25, 0.6, *VOLUME)}
    assert metrics == {
        'mAPr_25': pytest.approx(values[0.25], abs=0.006),
        'mAPr_50': pytest.approx(values[0.5], abs=0.006),
        'mAPr_60': pytest.approx(values[0.6], abs=0.006),
        'mAPr_vol': pytest.approx(np.mean([values[t] for t in VOLUME]), abs=0.006)}
    assert 20 < metrics['mAPr_50'] < 80


def test_the_protocols_differ_by_hand():
    """The second detection is nearer to the first cat, which is taken: a second match in MNC's
    protocol, where the third detection then finds the other cat.

    At 0.2: SDS has hit, hit, false alarm; MNC hit, false alarm, hit. At 0.5 both have the latter.
    """
    image = two_cats((line(0, 9), 1, 0.9), (line(4, 13), 1, 0.8), (line(10, 19), 1, 0.7))
    thresholds = dict(thresholds=(0.2, 0.5))
    sds, mnc = (evaluate([image], protocol=name, **thresholds) for name in PROTOCOLS)
    eleven_points = round(100 * (6 + 5 * 2 / 3) / 11, 2)
    assert (sds['mAPr_20'], mnc['mAPr_20']) == (100., eleven_points)
    assert (sds['mAPr_50'], mnc['mAPr_50']) == (round(100 * (1 / 2 + 2 / 3 / 2), 2), eleven_points)


def test_an_iou_that_equals_the_threshold_is_a_hit_in_mncs_protocol_alone():
    for tenths in range(1, 11):
        image = sample([(line(0, tenths - 1, 10), 1, 1.)], [[3] * 10], [[1] * 10])
        name, options = f'mAPr_{10 * tenths}', dict(thresholds=[tenths / 10])
        assert evaluate([image], protocol='sds', **options)[name] == 0
        assert evaluate([image], protocol='mnc', **options)[name] == 100


def test_the_volume_is_the_mean_over_nine_thresholds():
    """An IoU of 0.3 is above two of them, and at least three: 0.3 is no sum of 0.1 and 0.2."""
    image = sample([(line(0, 5), 1, 1.)], [[1] * 20], [[1] * 20])
    for protocol, count in zip(PROTOCOLS, (2, 3)):
        assert evaluate([image], protocol=protocol) == dict(
            mAPr_50=0., mAPr_70=0., mAPr_vol=round(100 * count / 9, 2))


# hits in the order of falling scores, scores, instances; SDS and MNC, in hundredths of 1
VECTORS = {
    'all found': ([1, 1], [0.9, 0.8], 2, 100, 100),
    'half found': ([1], [0.9], 2, 50, 100 * 6 / 11),
    'none found': ([0, 0], [0.9, 0.8], 2, 0, 0),
    'nothing detected': ([], [], 2, 0, 0),
    'a false alarm first': ([0, 1], [0.9, 0.8], 1, 50, 50),
    'a false alarm last': ([1, 0], [0.9, 0.8], 1, 100, 100),
    'precision rises again': ([0, 1, 1], [0.9, 0.8, 0.7], 2, 100 * 2 / 3, 100 * 2 / 3),
    'equal scores': ([0, 1], [0.8, 0.8], 1, 50, 50),
    'equal scores the other way': ([1, 0], [0.8, 0.8], 1, 50, 50),
    'equal infinite scores': ([1, 0], [np.inf, np.inf], 1, 50, 50),
    # reaches the recalls 0 to 0.3: as a float, 3 * 0.1 is above 3 / 10
    'three of ten': ([1, 1, 1], [0.9, 0.8, 0.7], 10, 30, 400 / 11)}


@pytest.mark.parametrize('hits, scores, instances, sds, mnc', VECTORS.values(), ids=VECTORS)
def test_average_precision_of_short_vectors(hits, scores, instances, sds, mnc):
    scores, hits = np.array(scores), np.array(hits, dtype=bool)[:, None]
    for order in (slice(None), slice(None, None, -1)):
        values = [float(average_precision(scores[order], hits[order], instances, protocol)[0])
                  for protocol in PROTOCOLS]
        assert [100 * value for value in values] == pytest.approx([sds, mnc])


def test_each_threshold_has_its_own_matches():
    """At 0.3 the first detection takes the cat; at 0.6 it does not, and the second does."""
    image = sample([(line(0, 9, 20), 1, 0.9), (line(0, 19, 20), 1, 0.8)], [[1] * 20], [[1] * 20])
    metrics = evaluate([image], thresholds=(0.3, 0.6))
    assert (metrics['mAPr_30'], metrics['mAPr_60']) == (100., 50.)


@each_protocol
def test_a_detection_is_matched_with_its_class_alone(protocol):
    image = sample([(line(0, 9), 2, 0.9), (line(0, 9), 1, 0.8)],
                   [[1] * 10 + [2] * 10], [[1] * 10 + [2] * 10])
    assert evaluate([image], protocol=protocol)['mAPr_50'] == 50.  # cats 100, dogs 0


def test_classes_without_an_instance_are_left_out():
    """A detected cow is no false alarm of another class."""
    image = two_cats((line(0, 9), 1, 0.9), (line(10, 19), 1, 0.8), (line(0, 9), 3, 1.))
    assert set(evaluate([image]).values()) == {100.}


def test_without_an_instance_everything_is_nan():
    for label in (0, 255):
        image = sample([(line(0, 9), 1, 0.9)], line(0, 9), [[label] * 20])
        assert np.isnan(list(evaluate([image]).values())).all()


@each_protocol
def test_the_class_is_the_most_frequent_label_of_valid_pixels(protocol):
    """The first instance is a dog, of 3 : 2 pixels, the second one background."""
    label_map = [[2, 2, 2, 1, 1] + [255] * 5 + [0, 0, 1] + [255] * 7]
    image = sample([(line(0, 4), 2, 0.9), (line(10, 12), 1, 0.8)], [[1] * 10 + [2] * 10],
                   label_map)
    assert set(evaluate([image], protocol=protocol, thresholds=(0.9, )).values()) == {100.}


def test_ignored_pixels_are_in_no_mask_and_no_instance():
    ignored = [[255 if 5 <= x < 15 else 1 for x in range(20)]]
    image = sample([(line(0, 19), 1, 0.9)], line(0, 9), ignored)
    assert evaluate([image], thresholds=(0.45, 0.55))['mAPr_45'] == 100.  # 5 of 10 pixels
    assert evaluate([image], thresholds=(0.45, 0.55))['mAPr_55'] == 0.
    minus = [[-1 if label == 255 else label for label in ignored[0]]]
    image = sample([(line(0, 19), 1, 0.9)], line(0, 9), minus)
    assert evaluate([image], thresholds=(0.45, ), ignore_index=-1)['mAPr_45'] == 100.


def test_numbers_of_instances_may_have_gaps_and_be_large():
    detections = ((line(0, 9), 1, 0.9), (line(10, 19), 1, 0.8))
    for numbers in ((1, 2), (7, 2), (300, 4), (2**31 - 1, 5), (5, 2**31 - 1)):
        instances = [[numbers[0]] * 10 + [numbers[1]] * 10]
        assert evaluate([sample(detections, instances, [[1] * 20])])['mAPr_50'] == 100.


@each_protocol
def test_the_order_of_images_is_of_no_account(protocol):
    """Although scores are equal, within images and across them."""
    samples = [random_sample(seed) for seed in range(12)]
    expected = evaluate(samples, protocol=protocol)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(samples))
        assert evaluate([samples[i] for i in order], protocol=protocol) == expected


def test_the_table_has_the_classes_that_have_instances(monkeypatch):
    printed = []
    monkeypatch.setattr('mmseg_ext.evaluation.region_ap_metric.print_log',
                        lambda text, logger: printed.append(text))
    evaluate([two_cats((line(0, 9), 1, 0.9))])
    rows = [[cell.strip() for cell in row.strip('|').split('|')]
            for row in printed[0].splitlines() if row.startswith('|')]
    assert rows == [['Class', 'APr_50', 'APr_70', 'APr_vol', 'Instances'],
                    ['cat', '50.0', '50.0', '50.0', '2']]


def data_sample(image):
    """The same as mmseg hands it on."""
    return SegDataSample(
        pred_instances=InstanceData(**image['pred_instances']),
        gt_instances=PixelData(**image['gt_instances']),
        gt_sem_seg=PixelData(**image['gt_sem_seg']))


def test_it_is_evaluated_as_a_runner_does():
    evaluator = Evaluator([
        dict(type='RegionAPMetric'), dict(type='RegionAPMetric', protocol='mnc', prefix='mnc')])
    evaluator.dataset_meta = META
    samples = [random_sample(seed) for seed in range(6)]
    evaluator.process([data_sample(image) for image in samples])
    assert evaluator.evaluate(len(samples)) == {
        **evaluate(samples),
        **{f'mnc/{name}': value for name, value in evaluate(samples, protocol='mnc').items()}}


# starts two processes: 5 s alone
def test_two_processes_count_each_of_an_odd_number_of_images_once(tmp_path, run_in_two_processes):
    run_in_two_processes(__file__, tmp_path)
    found = json.loads((tmp_path / 'metrics.json').read_text())
    assert found == evaluate([random_sample(seed) for seed in range(5)])


def evaluate_as_one_of_two(folder):
    """What each process does: the first image is with both, as 2 does not divide 5."""
    torch.distributed.init_process_group('gloo')
    atexit.register(leave_process_group)
    metric = RegionAPMetric()
    metric.dataset_meta = META
    mine = list(DefaultSampler(range(5), shuffle=False))
    assert len(mine) == 3
    metric.process({}, [random_sample(seed) for seed in mine])
    metrics = metric.evaluate(size=5)
    if os.environ['RANK'] == '0':
        (Path(folder) / 'metrics.json').write_text(json.dumps(metrics))


@pytest.mark.parametrize('arguments, message', [
    (dict(protocol='voc'), "protocol must be 'sds' or 'mnc', got 'voc'"),
    *((dict(thresholds=wrong), r'thresholds must be rising .*\(0.5, 0.7\), but .* was given')
      for wrong in (0.5, (0.7, 0.5), (0.5, 0.5), (0., ), (1.1, ), ('a', ), (float('nan'), )))])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RegionAPMetric(**arguments)


def changed(**parts):
    image = two_cats((line(0, 9), 1, 0.9))
    for name, value in parts.items():
        group = next(group for group in image.values() if name in group)
        group[name] = value
    return image


@pytest.mark.parametrize('image, message', [
    (changed(masks=torch.zeros(1, 1, 20)), r'masks must be bool .*got torch.float32 \(1, 1, 20\)'),
    (changed(labels=torch.ones(2).long()), r'There are 1 masks, so .* \(1,\), got \(2,\) and \(1,'),
    (changed(masks=torch.zeros(1, 2, 10).bool()), r'\(2, 10\), its label map \(1, 20\)'),
    (changed(labels=torch.tensor([4])), 'A prediction holds the value 4, but classes are 0 to 3'),
    (changed(scores=torch.tensor([float('nan')])), 'A score is NaN')])
def test_wrong_detections_are_named(image, message):
    with pytest.raises(ValueError, match=message):
        evaluate([image])


@pytest.mark.parametrize('instances, label_map, message', [
    ([[-1] * 20], [[1] * 20], 'map of the instances holds -1: instances are 1 and above'),
    ([[1] * 20], [[7] * 20], 'A label map holds the value 7, but classes are 0 to 3'),
    ([[1]], [[1] * 20], r'instances has the shape \(1, 1\), the label map \(1, 20\)')])
def test_wrong_maps_are_named(instances, label_map, message):
    with pytest.raises(ValueError, match=message):
        evaluate([sample([], instances, label_map)])


@pytest.mark.parametrize('name', ['pred_instances', 'gt_instances', 'gt_sem_seg'])
def test_what_a_sample_lacks_is_named(name):
    image = two_cats()
    del image[name]
    with pytest.raises(ValueError, match=f'RegionAPMetric found no {name} in a sample'):
        evaluate([image])


if __name__ == '__main__':
    evaluate_as_one_of_two(*sys.argv[1:])
