"""Instances as COCO's JSON. A stand-in has the place of pycocotools, which is optional."""
import json
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from mmseg_ext.evaluation import RegionAPMetric
from mmseg_ext.evaluation.coco_instances import coco_entries


@pytest.fixture
def coco(monkeypatch):
    """pycocotools.mask where it is installed, else what its documentation says of it."""
    try:
        from pycocotools import mask
    except ImportError:
        mask = ModuleType('pycocotools.mask')

        def encode(array):
            assert array.dtype == np.uint8 and array.flags.f_contiguous
            bits = ''.join(map(str, array.ravel(order='F')))
            return dict(size=list(array.shape), counts=bits.encode())

        def box_of(runs):
            bits = np.array(list(map(int, runs['counts'].decode())))
            y, x = bits.reshape(runs['size'], order='F').nonzero()
            return np.array([x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1], float)

        mask.encode, mask.toBbox = encode, box_of
        parent = ModuleType('pycocotools')
        parent.mask = mask
        monkeypatch.setitem(sys.modules, 'pycocotools', parent)
        monkeypatch.setitem(sys.modules, 'pycocotools.mask', mask)
    return mask


@pytest.fixture
def masks():
    found = torch.zeros(2, 4, 6, dtype=torch.bool)
    found[0, 1:3, 2:5] = found[1, 0, 0] = True
    return found


@pytest.mark.parametrize('path, image_id', [('a/000012.jpg', 12), ('a\\2007_000033.jpg',
                                                                    '2007_000033')])
def test_an_entry_says_what_coco_says(coco, masks, path, image_id):
    entries = coco_entries(path, masks, torch.tensor([3, 7]), torch.tensor([0.5, 0.25]))
    assert [entry['image_id'] for entry in entries] == [image_id] * 2
    assert [entry['category_id'] for entry in entries] == [3, 7]
    assert [entry['score'] for entry in entries] == [0.5, 0.25]
    assert [entry['bbox'] for entry in entries] == [[2, 1, 3, 2], [0, 0, 1, 1]]
    expected = coco.encode(np.asfortranarray(masks[0].numpy().astype(np.uint8)))
    assert entries[0]['segmentation']['counts'].encode() == expected['counts']
    assert json.loads(json.dumps(entries)) == entries


def test_the_metric_writes_the_file_and_judges_as_without(coco, masks, tmp_path):
    path = tmp_path / 'new' / 'found.json'
    labels = torch.zeros(4, 6, dtype=torch.int64)
    labels[masks[0]] = 3
    sample = dict(
        img_path='x/5.png', gt_instances=dict(data=masks[:1].int()),
        gt_sem_seg=dict(data=labels[None]),
        pred_instances=dict(masks=masks, labels=torch.tensor([3, 7]), scores=torch.ones(2)))
    values = []
    for extra in ({}, dict(coco_file=str(path))):
        metric = RegionAPMetric(**extra)
        metric.dataset_meta = dict(classes=list('abcdefgh'))
        nothing = dict(sample, img_path='x/6.png', pred_instances=dict(
            masks=masks[:0], labels=labels[:0, 0], scores=torch.ones(0)))
        metric.process({}, [sample, nothing, dict(sample, img_path='x/7.png')])
        values.append(metric.evaluate(3))
    assert values[0] == values[1] and 50 < values[0]['mAPr_50'] < 70  # two of three
    assert [entry['image_id'] for entry in json.loads(path.read_text())] == [5, 5, 7, 7]


def test_a_missing_package_is_named_when_the_metric_is_built(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pycocotools', None)
    with pytest.raises(ImportError, match='needs the package pycocotools: pip install'):
        RegionAPMetric(coco_file='x.json')
