"""What the tests of free-form RoI pooling share: maps, boxes and masks of all kinds."""
import numpy as np
import pytest
import torch

from mmseg_ext.ops import extension_loaded, free_form_roi_pool
from mmseg_ext.ops.free_form_roi_pool import bin_ranges

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
MODES = ['exact', 'calvin']
BINS = ['mmcv', 'calvin']
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')

# Sizes of map and grid, and cells per pixel (y, x). 1/8 is exact in float32, the others are not.
SETTINGS = [
    ((6, 9), (3, 4), (1 / 8, 1 / 8)),
    ((8, 8), (7, 7), (1 / 16, 1 / 16)),  # more bins than the most boxes have cells
    ((7, 5), (2, 2), (0.3, 0.7)),
    ((5, 9), (1, 3), (4 / 79, 8 / 99)),  # (h - 1) / (H - 1), as the released code scales
]


def range_of_bin(first, last, i, number, cells, scale, bins):
    """The cells of the map in bin i of one side of a box, with the roundings of float32."""
    f = np.float32
    begin = f(first) * f(scale)
    end = f(last) * f(scale) if bins == 'calvin' else (f(last) + f(1)) * f(scale)
    if end < begin or (bins == 'mmcv' and end == begin):
        return []
    length = (end - begin) / f(number)
    low, high = np.floor(f(i) * length + begin), np.ceil(f(i + 1) * length + begin)
    inside = [c for c in range(cells) if low <= c <= high]
    return [c for c in inside if bins == 'calvin' or c < high]


def random_boxes(rng, count, side, scale):
    """First and last pixel along a side of `side` cells, as many different ways as there are."""
    pixels = int(side / scale)
    inside = np.sort(rng.integers(0, pixels, (count, 2)))
    boxes = np.select(
        [np.arange(count)[:, None] % 6 == i for i in range(5)],
        [inside, inside[:, :1].repeat(2, 1),  # one pixel
         inside + rng.random((count, 2)),  # between pixels
         inside + rng.integers(-pixels, pixels, (count, 1)),  # partly or wholly outside
         inside[:, ::-1]],  # last before first
        np.array([[0, pixels - 1]]))
    return rng.permutation(boxes)


def random_masks(rng, count, height, width):
    masks = np.zeros((count, height, width), dtype=bool)
    for k, mask in enumerate(masks):
        y, x = rng.integers(height), rng.integers(width)
        kind = k % 7
        if kind == 0:  # thin
            mask[y], mask[:, x] = True, rng.random() < 0.5
        elif kind == 1:  # one cell
            mask[y, x] = True
        elif kind == 2:
            mask[:] = True
        elif kind == 3:  # a part of the one before
            mask[y // 2:y + 2, x // 2:x + 2] = True
        elif kind == 4:  # at the border
            mask[0] = mask[:, -1] = True
        elif kind == 5:
            mask[:] = rng.random((height, width)) < 0.5
        # 6: empty
    return masks


def random_case(setting, mode='exact', seed=0, count=24, ties=False):
    """Map, boxes, masks, grid and scale; the numbers are eighths, exact in every type."""
    (height, width), size, scale = setting
    rng = np.random.default_rng(seed)
    input = rng.integers(-16, 17, (3, 2, height, width))
    input = input // 8 if ties else input / 8
    x, y = (random_boxes(rng, count, *side) for side in ((width, scale[1]), (height, scale[0])))
    rois = np.column_stack([rng.integers(0, 3, count), x[:, 0], y[:, 0], x[:, 1], y[:, 1]])
    masks = random_masks(rng, count, *((height, width) if mode == 'exact' else size))
    return (torch.from_numpy(input).double(), torch.from_numpy(rois).float(),
            torch.from_numpy(masks), size, scale)


def pool_and_gradient(input, *args, received=None, **kwargs):
    input = input.detach().requires_grad_()
    output = free_form_roi_pool(input, *args, **kwargs)
    if received is None:
        received = whole_numbers(output.shape)
    gradient, = torch.autograd.grad(output, input, received.to(output))
    return output.detach(), gradient


def places_of(case, bins='mmcv'):
    """What the ops are called with beside the map."""
    input, rois, masks, size, scale = case
    sides = (bin_ranges(rois[:, 2 - i], rois[:, 4 - i], size[i], input.shape[2 + i], scale[i], bins)
             for i in (0, 1))
    return rois[:, 0].long(), *sides, masks, bins == 'calvin'


def whole_numbers(shape):
    """Gradients of which sums are exact in every type."""
    return torch.from_numpy(np.random.default_rng(1).integers(-4, 5, shape))
