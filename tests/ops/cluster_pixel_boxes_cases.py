"""Boxes and scores that the clustering of boxes is tried with, and what loops make of them."""
import numpy as np
import torch

INF, NAN = float('inf'), float('nan')
THRESHOLDS = [0., 1 / 3, 0.5, 0.7, 1.]


def clustered(count=300, objects=5, noise=0.1, seed=0):
    """Noisy boxes of some objects."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 100, (objects, 2)), rng.uniform(10, 60, (objects, 2))
    which = rng.integers(objects, size=count)
    boxes = np.concatenate([corner, corner + size], axis=1)[which]
    boxes += noise * np.tile(size[which], 2) * rng.standard_normal((count, 4))
    return torch.from_numpy(boxes).float(), torch.from_numpy(rng.random(count)).float()


def small_numbers(count=60, seed=0):
    """Boxes of few positions and sizes, some without an area: ties of IoU and of scores."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 4, (count, 2))
    boxes = np.concatenate([low, low + rng.integers(0, 4, (count, 2))], axis=1)
    return torch.from_numpy(boxes).float(), torch.from_numpy(rng.integers(0, 3, count) / 4).float()


def apart(count):
    """No box joins another."""
    x = torch.arange(count).float()
    return torch.stack([x, 0 * x, x + 1, 0 * x + 1], dim=1), x


def odd_numbers():
    """Every kind of coordinate and score beside each other."""
    box = [0., 0., 4., 4.]
    boxes = [box, box]
    for value in (NAN, INF, -INF, 3e38, -3e38, 1e-30, -0.):
        boxes += [[*box[:i], value, *box[i + 1:]] for i in range(4)] + [[value] * 4]
    boxes += [[4, 4, 0, 0], [4, 0, 0, 4], [0, 4, 4, 0], [0, 0, 4, 0], [0, 0, 1e-30, 1e-30],
              [0, 0, 1e30, 1e30], [-INF, -INF, INF, INF], [0, 0, 1.5e19, 1.5e19]] * 2
    scores = [0.5, 0.25, NAN, -INF, INF, -0., 0.] * len(boxes)
    return torch.tensor(boxes).float(), torch.tensor(scores[:len(boxes)])


CASES = {
    'clustered': clustered(),
    'much noise': clustered(noise=0.4, seed=1),
    'ties': small_numbers(),
    'more ties': small_numbers(40, seed=1),
    'all boxes equal': (torch.tensor([[1., 2., 5., 4.]]).repeat(40, 1), clustered(40)[1]),
    'all equal': (torch.tensor([[1., 2., 5., 4.]]).repeat(40, 1), torch.zeros(40)),
    'one each': apart(70),
    'odd numbers': odd_numbers(),
    'one': clustered(1),
    'one without an area': (torch.zeros(1, 4), torch.zeros(1)),
    'none': (torch.zeros(0, 4), torch.zeros(0)),
}


def by_loops(boxes, scores, iou_thr):
    """Box by box, in numpy's numbers of the type of the boxes; gives two lists."""
    boxes, scores = boxes.numpy(), scores.numpy()
    iou_thr = boxes.dtype.type(iou_thr)
    keys = [-INF if np.isnan(score) else score for score in scores]
    keep, cluster = [], [None] * len(boxes)
    with np.errstate(all='ignore'):
        areas = []
        for (x1, y1, x2, y2), score in zip(boxes, scores):
            area = (x2 - x1) * (y2 - y1)
            counts = x2 > x1 and y2 > y1 and area < INF and not np.isnan(score)
            areas.append(area if counts else 0 * iou_thr)
        for i in sorted(range(len(boxes)), key=lambda i: -keys[i]):
            for position, k in enumerate(keep):
                if areas[i] > 0 and areas[k] > 0:
                    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = boxes[i], boxes[k]
                    width, height = min(ax2, bx2) - max(ax1, bx1), min(ay2, by2) - max(ay1, by1)
                    inside = width * height if width > 0 and height > 0 else 0 * width
                    if inside / (areas[i] + areas[k] - inside) > iou_thr:
                        cluster[i] = position
                        break
            if cluster[i] is None:
                cluster[i] = len(keep)
                keep.append(i)
    return keep, cluster
