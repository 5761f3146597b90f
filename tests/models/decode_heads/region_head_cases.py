"""What the tests of RegionHead share: heads, maps, regions and samples of images."""
import numpy as np
import torch
import torch.nn as nn
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.models import RegionHead
from mmseg_ext.ops import RegionSet

STRIDE, CHANNELS, CLASSES, GRID = 16, 3, 4, 2
POOLING = dict(type='FreeFormRoIPool', output_size=GRID)
CALVIN = dict(POOLING, mode='calvin', bins='calvin')
PER_CELL = dict(type='ClassWeightedCrossEntropyLoss')
CE = dict(type='CrossEntropyLoss')
WEIGHTS = [0.5, 2., 7., 1.25]  # exact in float32
BATCH = (64, 80)
SIZES = [(64, 71), (50, 80)]  # of two images that are padded to BATCH

# ------------------------------------------------------------------------------ what heads get


def make_head(**kwargs):
    torch.manual_seed(0)
    kwargs = dict(dict(num_classes=CLASSES, roi_layer=POOLING, dropout_ratio=0), **kwargs)
    head = RegionHead(CHANNELS, 8, **kwargs)
    for parameter in head.parameters():  # larger than its init, so that regions differ
        nn.init.normal_(parameter, std=0.5)
    return head


class GivenScores(nn.Module):
    """Stands in for the layers: the scores of all regions, whatever is pooled."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, pooled):
        assert len(pooled) == len(self.scores)
        return self.scores


def head_of_scores(scores, **kwargs):
    scores = torch.as_tensor(scores, dtype=torch.float64)
    head = make_head(num_classes=scores.size(1), features='box', **kwargs)
    head.classifier = GivenScores(scores)
    return head


def region_set(cells, groups):
    """Regions from nested lists: the cell of each pixel, and the cells of each region."""
    return RegionSet(
        torch.as_tensor(cells).int(),
        torch.tensor([0, *np.cumsum([len(group) for group in groups])]).long(),
        torch.tensor([cell for group in groups for cell in sorted(group)]).long())


def random_regions(size, seed=0, number=14):
    """Blocks of 9x9 pixels and scattered ones as cells, the last in no region; the left has none.

    Regions overlap; the first is all of the others together.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices(size)
    cells = y // 9 * -(-size[1] // 9) + x // 9
    scattered = rng.random(size) < 0.05
    cells[scattered] = rng.permutation(cells[scattered])
    cells[:, :3] = -1
    present, cells = np.unique(cells, return_inverse=True)
    cells = cells.reshape(size) - 1
    last = len(present) - 2
    groups = [np.arange(last)]
    groups += [rng.choice(last, rng.integers(1, last), replace=False) for _ in range(number - 1)]
    return region_set(cells, groups)


def random_labels(regions, batch=BATCH, seed=0):
    """Labels as mmseg pads them. What has no cell has no label, as PackRegionInputs makes it."""
    rng = np.random.default_rng(seed)
    label = np.full(batch, 255)
    height, width = regions.cells.shape
    label[:height, :width] = rng.integers(0, CLASSES, (height, width))
    label[20:24] = 255
    label[:height, :width][regions.cells.numpy() < 0] = 255
    return torch.from_numpy(label)


def make_sample(regions, label, batch=BATCH, **meta):
    return SegDataSample(
        gt_sem_seg=PixelData(data=torch.as_tensor(label)[None]),
        metainfo=dict(regions=regions, img_shape=tuple(regions.cells.shape), pad_shape=batch,
                      **meta))


def two_images(dtype=torch.float64):
    """Maps and samples of a batch whose images differ in size."""
    regions = [random_regions(size, seed) for seed, size in enumerate(SIZES)]
    samples = [make_sample(image, random_labels(image, seed=seed))
               for seed, image in enumerate(regions)]
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, CHANNELS, 4, 5, generator=generator, dtype=dtype, requires_grad=True)
    return (maps, ), samples


def predict(head, maps, samples):
    return head.predict(maps, [sample.metainfo for sample in samples], dict(mode='whole'))


def labels_of(samples):
    return torch.cat([sample.gt_sem_seg.data for sample in samples])


def blank_map(batch=BATCH):
    return (torch.zeros(1, CHANNELS, *(-(-side // STRIDE) for side in batch),
                        dtype=torch.float64), )


def predict_one(head, regions, batch=None):
    """Scores of the pixels of one image, (C, H, W)."""
    batch = batch or tuple(regions.cells.shape)
    return predict(head, blank_map(batch), [make_sample(regions, np.zeros(batch), batch)])[0]


def loss_of_one(head, regions, label):
    sample = make_sample(regions, label, tuple(regions.cells.shape))
    return head.loss(blank_map(regions.cells.shape), [sample], {})
