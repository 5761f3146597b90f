"""Labels of LRN's stages: where they are taken, and what a perfect prediction of them can reach."""
import os
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import DATASETS

from mmseg_ext.models.decode_heads.stagewise_decode_head import resize_label

README = Path(__file__).parents[3] / 'configs' / 'lrn' / 'README.md'


def test_a_position_gets_the_label_at_its_centre():
    label = torch.arange(6 * 9).view(1, 1, 6, 9)
    # 2x3 positions of 3x3 pixels each
    assert resize_label(label, (2, 3))[0, 0].tolist() == [[10, 13, 16], [37, 40, 43]]


@pytest.mark.parametrize('size, target', [((360, 480), (12, 15)), ((37, 50), (5, 7)),
                                          ((45, 61), (23, 31)), ((5, 7), (5, 7)), ((3, 4), (6, 9))])
def test_every_size_is_as_nearest_exact(size, target):
    label = torch.arange(2 * size[0] * size[1]).view(2, 1, *size)
    expected = F.interpolate(label.double(), target, mode='nearest-exact').long()
    assert torch.equal(resize_label(label, target), expected)


def test_labels_keep_their_type_and_value():
    label = torch.tensor([2**60 + 1, 7]).view(1, 1, 1, 2).expand(1, 1, 4, 2)
    small = resize_label(label, (2, 2))
    assert small.dtype == torch.int64 and small[0, 0].tolist() == [[2**60 + 1, 7]] * 2


def test_boundaries_stay_where_they_are_on_average():
    """A label at the top left of each position would move all of them by 7.5 pixels one way."""
    moved = []
    for boundary in range(16, 48):
        label = (torch.arange(64) >= boundary).long().expand(1, 1, 64, 64)
        stage = F.one_hot(resize_label(label, (4, 4))[:, 0], 2).permute(0, 3, 1, 2).float()
        enlarged = F.interpolate(stage, (64, 64), mode='bilinear', align_corners=False).argmax(1)
        moved.append(int(enlarged[0, 0].argmax()) - boundary)
    assert max(map(abs, moved)) <= 8
    assert abs(sum(moved)) / len(moved) <= 0.5


def ceilings(sizes):
    """MIoU in per cent on CamVid val, judged at 360x480, of perfect maps at each of these sizes.

    The networks see 180x240, so that the label maps of training have that size too.
    """
    data = DATASETS.build(dict(
        type='CamVidDataset',
        data_root=os.path.join(os.environ['MMSEG_EXT_DATA'], 'camvid'),
        split='val',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='Resize', scale=(240, 180), keep_ratio=False),
            dict(type='PackSegInputs')
        ]))
    full = DATASETS.build(dict(
        type='CamVidDataset', data_root=data.data_root, split='val',
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                  dict(type='PackSegInputs')]))
    tables = torch.zeros(len(sizes), 12, 12, dtype=torch.int64)
    for small, large in zip(data, full):
        small, large = (x['data_samples'].gt_sem_seg.data[None] for x in (small, large))
        for table, size in zip(tables, sizes):
            stage = resize_label(small, size)[:, 0].clamp(max=11)  # 255 is a class of its own
            logits = F.one_hot(stage, 12).permute(0, 3, 1, 2).float()
            for enlarged in ((180, 240), (360, 480)):
                logits = F.interpolate(logits, enlarged, mode='bilinear', align_corners=False)
            pair = large[:, 0].clamp(max=11) * 12 + logits.max(dim=1).indices
            table += torch.bincount(pair.flatten(), minlength=144).view(12, 12)
    # ignored pixels are not judged
    hits, true, found = (x[:, :11] for x in (tables.diagonal(dim1=1, dim2=2), tables.sum(2),
                                             tables[:, :11].sum(1)))
    return (100 * (hits / (true + found - hits)).mean(dim=1)).tolist()


@pytest.mark.skipif('MMSEG_EXT_DATA' not in os.environ, reason='needs CamVid')
def test_the_ceilings_in_the_readme_are_those_of_perfect_maps():
    """About ten seconds: 101 images at six sizes."""
    sizes = [(6, 8), (12, 15), (23, 30), (45, 60), (90, 120), (180, 240)]
    row = re.search(r'^\| perfect maps \|(.+)\|$', README.read_text(), re.MULTILINE).group(1)
    published = [float(x) for x in re.findall(r'\d+\.\d', row)]
    assert published == pytest.approx(ceilings(sizes), abs=0.06)
