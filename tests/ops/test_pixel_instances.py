"""Instances from the scores and boxes of pixels, against loops over pixels and hypotheses."""
import pytest
import torch

from mmseg_ext.datasets import ScenesDataset
from mmseg_ext.ops import cluster_pixel_boxes, logits_to_instances, pixel_instances
from mmseg_ext.ops.pixel_instances import STRIP, top_classes

BOX = torch.tensor([0., 0, 4, 4]).view(4, 1, 1)


def brute_force(classes, scores, boxes, iou_thr, min_size, region_iou, background=(0, )):
    """Masks as sets of pixels, one pair of hypotheses after the other."""
    n, height, width = classes.shape
    instances = []
    for c in sorted(set(classes.flatten().tolist()) - set(background) - {-1}):
        hypotheses = []
        for k in range(1, n + 1):
            members = [(r, y, x) for r in range(k) for y in range(height) for x in range(width)
                       if classes[r, y, x] == c]
            if k > 1 and not any(r == k - 1 for r, _, _ in members) or not members:
                continue
            own = torch.stack([boxes(c)[:, y, x] for _, y, x in members])
            key = torch.stack([scores[m] for m in members])
            keep, cluster = cluster_pixel_boxes(own, key, iou_thr)
            for q, i in enumerate(keep.tolist()):
                rows = (cluster == q).nonzero().flatten().tolist()
                if len(rows) >= min_size:
                    mask = {members[j][1:] for j in rows}
                    hypotheses.append((sum(float(key[j]) for j in rows) / len(rows), mask, own[i]))
        hypotheses.sort(key=lambda each: -each[0])
        left = []
        for each in hypotheses:
            if all(len(each[1] & o[1]) <= region_iou * len(each[1] | o[1]) for o in left):
                left.append(each)
        instances += [(score, c, mask, box) for score, mask, box in left]
    return sorted(instances, key=lambda each: -each[0])


def random_pixels(seed, n=3, size=(9, 12), num_classes=5):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num_classes, *size, generator=generator)
    corner = 4 * torch.randint(0, 3, (num_classes, 2, *size), generator=generator)
    noise = torch.rand(num_classes, 4, *size, generator=generator)
    return top_classes(logits, n), torch.cat([corner, corner + 6], dim=1) + noise


@pytest.mark.parametrize('region_iou', [0.3, 0.8, 'any'])
@pytest.mark.parametrize('seed', range(3))
def test_instances_are_those_of_loops_over_pixels(seed, region_iou):
    (classes, scores), boxes = random_pixels(seed)
    found = pixel_instances(classes, scores, boxes.__getitem__, background=(0, 3), min_size=3,
                            region_iou=region_iou)
    expected = brute_force(classes, scores, boxes.__getitem__, 0.3, 3,
                           0 if region_iou == 'any' else region_iou, (0, 3))
    assert len(found.scores) == len(expected) > 3
    torch.testing.assert_close(found.scores, torch.tensor([each[0] for each in expected]))
    for mask, label, box, (_, c, pixels, first) in zip(
            found.masks, found.labels, found.boxes, expected):
        assert label == c and {tuple(yx) for yx in mask.nonzero().tolist()} == pixels
        assert box.equal(first)


def test_a_second_mask_finds_what_the_background_hides_and_nothing_twice():
    """Left: class 1 is first; right: second, behind the background. Two boxes: two instances."""
    classes = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 1, 1]]])
    scores = torch.tensor([[[.9, .8, .6, .7]], [[.1, .2, .4, .3]]])
    apart = torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2], [6, 0, 8, 2], [6, 0, 8, 2]]).T[:, None]
    found = pixel_instances(classes, scores, lambda label: apart, min_size=1)
    assert found.masks.tolist() == [[[True, True, False, False]], [[False, False, True, True]]]
    assert found.scores.tolist() == pytest.approx([.85, .35])
    one = pixel_instances(classes[:1], scores[:1], lambda label: apart, min_size=1)
    assert one.masks.tolist() == [[[True, True, False, False]]]


def test_a_hypothesis_of_the_wider_mask_is_suppressed_by_its_core():
    classes = torch.tensor([[[1, 1, 1, 0]], [[0, 0, 0, 1]]])
    scores = torch.tensor([[[.9, .9, .9, .5]], [[.1, .1, .1, .1]]])
    found = pixel_instances(classes, scores, lambda label: BOX.expand(4, 1, 4), min_size=1)
    assert found.masks.tolist() == [[[True, True, True, False]]]
    # an IoU of 3 / 4 is not above it
    both = pixel_instances(classes, scores, lambda label: BOX.expand(4, 1, 4), min_size=1,
                           region_iou=0.75)
    assert len(both.masks) == 2 and both.scores[1] == pytest.approx(2.8 / 4)


@pytest.mark.parametrize('shape', [(3, 7, 5), (40, 90, 83)])
@pytest.mark.parametrize('n', [1, 2, 5])
def test_the_highest_classes_are_those_of_a_sort(shape, n):
    assert shape[0] < 40 or shape[0] * shape[1] * shape[2] > STRIP  # in several strips
    logits = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits[:, 0, 0] = 1.  # equal: the lower class first
    given = logits.clone()
    classes, scores = top_classes(logits, n, 0.04)
    assert logits.equal(given)
    expected, order = logits.softmax(dim=0).sort(dim=0, descending=True, stable=True)
    expected, order = expected[:n], order[:n]
    torch.testing.assert_close(scores, expected.where(expected >= 0.04, torch.zeros(())))
    assert classes.long().equal(order.where(expected >= 0.04, torch.tensor(-1)))


def test_no_class_is_found_at_a_nan():
    logits = torch.zeros(3, 1, 2)
    logits[1, 0, 0] = torch.nan
    classes, scores = top_classes(logits, 2)
    assert classes[:, 0].tolist() == [[-1, 0], [-1, 1]] and scores[:, 0, 0].tolist() == [0, 0]


@pytest.mark.parametrize('background', [(0, ), (2, 7), ()])
def test_instances_of_logits_are_those_of_the_maps_of_their_classes(background):
    """In several strips, with background that is no class of these logits."""
    logits = 3 * torch.randn(5, 300, STRIP // 1000, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(*(torch.arange(n) // 40 * 40. for n in logits.shape[1:]), indexing='ij')
    boxes = torch.stack([x, y, x + 40, y + 40])
    options = dict(background=background, min_size=9)
    found = logits_to_instances(logits, lambda label: boxes, top_n=3, min_score=.1, **options)
    expected = pixel_instances(*top_classes(logits, 3, .1), lambda label: boxes, **options)
    assert len(found.scores) == 100
    for one, other in zip(found, expected):
        assert torch.equal(one, other)


def test_every_instance_of_a_scene_is_recovered_from_true_boxes():
    """Touching instances of one class included: their boxes differ."""
    touching = 0
    for item in ScenesDataset(num_images=6, size=(96, 128)):
        instances = torch.from_numpy(item['gt_instance_map'].astype('int64'))
        instances[instances == 255] = 0
        labels = torch.from_numpy(item['gt_seg_map'].astype('int64'))
        boxes = torch.zeros(4, 96, 128)
        for number in instances.unique()[1:]:
            y, x = (instances == number).nonzero().unbind(dim=1)
            box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
            boxes[:, instances == number] = box.float()[:, None]
        classes = labels.where(instances > 0, torch.tensor(-1))[None]
        found = pixel_instances(classes, torch.ones(1, 96, 128), lambda label, b=boxes: b,
                                iou_thr=0.95, min_size=1)
        expected = {(int(labels[instances == k].mode().values), (instances == k).numpy().tobytes())
                    for k in instances.unique()[1:]}
        assert len(expected) == len(found.labels)
        assert {(int(c), m.numpy().tobytes())
                for c, m in zip(found.labels, found.masks)} == expected
        beside = (instances[:, 1:] != instances[:, :-1]) & (labels[:, 1:] == labels[:, :-1])
        touching += int((beside & (instances[:, 1:] > 0) & (instances[:, :-1] > 0)).sum())
    assert touching > 20


def test_the_best_are_left_where_there_are_more_than_wanted():
    classes = torch.ones(1, 1, 3, dtype=torch.int64)
    scores = torch.tensor([[[.2, .9, .5]]])
    boxes = torch.tensor([[0., 0, 1, 1], [1, 0, 2, 1], [2, 0, 3, 1]]).T[:, None]
    found = pixel_instances(classes, scores, lambda label: boxes, min_size=1, max_instances=2)
    assert found.masks[:, 0].tolist() == [[False, True, False], [False, False, True]]


def test_more_hypotheses_of_a_class_than_int16_has_numbers():
    """Each pixel is an instance; the best are found last, in the second mask."""
    height, width = 200, 170
    y, x = torch.meshgrid(torch.arange(200.), torch.arange(170.), indexing='ij')
    classes = torch.full((2, height, width), -1)
    classes[0, :-1], classes[1, -1] = 1, 1
    scores = torch.full(classes.shape, .1)
    scores[1, -1, :3] = torch.tensor([.7, .9, .8])
    found = pixel_instances(classes, scores, lambda label: torch.stack([x, y, x + 1, y + 1]),
                            min_size=1, max_instances=3)
    assert found.masks.nonzero().tolist() == [[0, 199, 1], [1, 199, 2], [2, 199, 0]]


def test_boxes_are_asked_for_only_of_classes_with_enough_pixels():
    classes = torch.tensor([[[0, 2, 2, 3]]])
    found = pixel_instances(classes, torch.ones(1, 1, 4), {2: BOX.expand(4, 1, 4)}.__getitem__,
                            min_size=2)
    assert found.labels.tolist() == [2]


@pytest.mark.parametrize('shape', [(1, 0, 4), (2, 3, 5)])
def test_an_image_without_instances(shape):
    found = pixel_instances(
        torch.zeros(shape, dtype=torch.int16), torch.ones(shape), {}.__getitem__)
    assert found.masks.shape == (0, *shape[1:]) and found.masks.dtype == torch.bool
    assert found.labels.shape == found.scores.shape == (0, ) and found.boxes.shape == (0, 4)


@pytest.mark.parametrize('changed, message', [
    (dict(classes=torch.ones(1, 2)), r'must both be \(n, H, W\)'),
    (dict(classes=torch.ones(1, 2, 2)), 'classes must be signed integers'),
    (dict(classes=torch.full((1, 2, 2), 2**15)), 'classes must be below 32768, got 32768'),
    (dict(boxes=lambda label: torch.ones(4, 1, 1)), r'boxes must give \(4, 2, 2\) for a class'),
    (dict(region_iou=1.5), 'region_iou must be from 0 to 1, got 1.5'),
    (dict(min_size=0), 'min_size must be a whole number from 1'),
    (dict(max_instances=0), 'max_instances must be a whole number from 1')])
def test_wrong_arguments_are_refused_with_a_sentence(changed, message):
    arguments = dict(classes=torch.ones(1, 2, 2, dtype=torch.int16), scores=torch.ones(1, 2, 2),
                     boxes=lambda label: BOX.expand(4, 2, 2), min_size=1)
    with pytest.raises(ValueError, match=message):
        pixel_instances(**{**arguments, **changed})


@pytest.mark.parametrize('logits, n, message', [
    (torch.ones(1, 2, 2), 1, 'two classes at least'), (torch.ones(3, 2, 2), 0, 'n must be')])
def test_wrong_logits_are_refused_with_a_sentence(logits, n, message):
    with pytest.raises(ValueError, match=message):
        top_classes(logits, n)
