import pytest
import torch

from mmseg_ext.models.box_coders.pixel_boxes import instance_boxes, paired_iou


def boxes_by_loops(instances):
    """The box of every pixel's instance as a list of lists, None where there is no instance."""
    found = []
    for image in instances.tolist():
        places = {}
        for y, row in enumerate(image):
            for x, number in enumerate(row):
                places.setdefault(number, []).append((x, y))
        boxes = {}
        for number, pixels in places.items():
            xs, ys = zip(*pixels)
            boxes[number] = [min(xs), min(ys), max(xs) + 1, max(ys) + 1]
        boxes[0] = None
        found.append([[boxes[number] for number in row] for row in image])
    return found


def check(instances):
    boxes, number = instance_boxes(instances)
    none = len(boxes) - 1
    assert number.shape == instances.shape and boxes.dtype == number.dtype == torch.int64
    found = [[[None if k == none else boxes[k].tolist() for k in row] for row in image]
             for image in number.tolist()]
    assert found == boxes_by_loops(instances)
    assert boxes[none].tolist() == [0, 0, 1, 1]
    pairs = {(n, k) for n, image in enumerate(instances.tolist()) for row in image for k in row}
    assert none == len([k for _, k in pairs if k > 0])


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize('shape', [(1, 1, 1), (2, 7, 11), (3, 20, 9)])
def test_boxes_are_those_that_loops_find(shape, dtype):
    """Numbers in scattered pixels: parts that do not touch, single pixels, gaps, no pixel at all.

    Image by image, so that one number is an instance of its own in each.
    """
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        instances = torch.randint(0, 40, shape, generator=generator)
        instances[instances > 4 + seed] = 0
        check(instances.to(dtype) * 3)


@pytest.mark.parametrize('numbers', [[0], [1], [70000, 0, 0, 3], [255, 254, 256, 0]])
def test_numbers_may_be_high_and_need_not_follow_each_other(numbers):
    check(torch.tensor(numbers, dtype=torch.int32).repeat(2, 3, 2))


def test_an_image_without_instances_beside_others_and_an_empty_batch():
    instances = torch.zeros(3, 4, 5, dtype=torch.int32)
    check(instances)
    instances[1, 3, 4] = 2
    check(instances)
    boxes, number = instance_boxes(instances[:0])
    assert boxes.tolist() == [[0, 0, 1, 1]] and number.shape == (0, 4, 5)


def test_iou_is_common_over_joined_area_of_each_pair():
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 6, (2, 2, 2, 5, 7), generator=generator).double()
    boxes, others = torch.cat([first, first + 1 + torch.randint(
        0, 5, first.shape, generator=generator)], dim=2)
    boxes[0, :, 2, 3] = others[0, :, 2, 3]
    found = paired_iou(boxes, others)
    assert found.shape == (2, 5, 7) and found.max() == 1 and found.min() == 0
    for n, y, x in [(n, y, x) for n in range(2) for y in range(5) for x in range(7)]:
        one, other = (
            {(u, v) for u in range(int(b[0]), int(b[2])) for v in range(int(b[1]), int(b[3]))}
            for b in (boxes[n, :, y, x], others[n, :, y, x]))
        assert found[n, y, x].item() == pytest.approx(len(one & other) / len(one | other))


def test_boxes_without_area_have_no_iou():
    point = torch.tensor([3., 3., 3., 3.]).view(4, 1, 1)
    assert paired_iou(point, point) == 0
    assert paired_iou(point, torch.tensor([0., 0., 9., 9.]).view(4, 1, 1)) == 0
