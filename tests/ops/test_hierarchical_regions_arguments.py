"""What hierarchical_regions, group_cells and their kernels refuse, with which sentence."""
import sys

import numpy as np
import pytest
import torch

from mmseg_ext.ops import extension_loaded
from mmseg_ext.ops.hierarchical_regions import group_cells, hierarchical_regions

each_implementation = pytest.mark.parametrize(
    'implementation', ['reference'] + (['cpp'] if extension_loaded() else []))
needs_extension = pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')


@each_implementation
@pytest.mark.parametrize('cells, message', [
    (np.zeros((3, 4), np.int32), r'cells must be int32 \(4, 4\), as the image, got int32 \(3, 4\)'),
    (np.zeros((4, 4), np.int64), r'cells must be int32 .*, got int64'),
    (np.full((4, 4), -1, np.int32), r'Every number from 0 .* got -1 to -1'),
    (np.full((4, 4), 2, np.int32), r'Every number from 0 .* got 2 to 2 in 16 pixels'),
    (np.full((4, 4), 2**31 - 1, np.int32), r'Every number from 0 .* got 2147483647')],
    ids=['small', 'int64', 'negative', 'without a pixel', 'huge'])
def test_cells_that_do_not_fit_the_image_are_refused(implementation, cells, message):
    with pytest.raises(ValueError, match=message):
        group_cells(np.zeros((4, 4, 3), np.uint8), cells, implementation=implementation)


@needs_extension
@pytest.mark.parametrize('change, message', [
    (dict(sizes=[0, 2]), 'Every cell must have a pixel'),
    (dict(sizes=[2, 9]), 'not more than the image, 6'),
    (dict(sizes=[]), 'There must be a cell'),
    (dict(pairs=[[0, 2]]), 'the lower one first, of 0 to 1'),
    (dict(pairs=[[1, 1]]), 'the lower one first'),
    (dict(boxes=[[2, 0, 1, 0], [0, 0, 0, 0]]), '0 <= x1 <= x2'),
    (dict(histograms=torch.zeros(2, 0).int()), 'must count every pixel of a cell')], ids=str)
def test_the_kernel_refuses_cells_that_cannot_be(change, message):
    """Else: a division by zero, or a merge written behind the last."""
    counts = change.get('histograms', torch.ones(2, 2).int())
    sizes = torch.tensor(change.get('sizes', [2, 2])).long()
    boxes = torch.tensor(change.get('boxes', [[0, 0, 1, 0], [2, 0, 3, 0]])[:len(sizes)])
    with pytest.raises(ValueError, match=message):
        torch.ops.mmseg_ext.merge_cells([counts], sizes, boxes.view(-1, 4).long(),
                                        torch.tensor(change.get('pairs', [[0, 1]])), 6)


@pytest.mark.parametrize('arguments, message', [
    (dict(image=torch.zeros(4, 4, 3)), r'numpy array, got Tensor; .*permute\(1, 2, 0\)'),
    (dict(image=np.zeros((4, 4, 3))), r'uint8 .*got \(4, 4, 3\) float64'),
    (dict(image=np.zeros((4, 4), np.uint8)), r'got \(4, 4\) uint8; .*np.stack'),
    (dict(image=np.zeros((4, 0, 3), np.uint8)), r'a pixel at least, got \(4, 0, 3\)'),
    (dict(colour_space='bgr'), "one of .*'rgb', 'hsv', 'lab'.*, got 'bgr'"),
    (dict(scale=-1), 'scale must not be negative, got -1'),
    (dict(sigma=float('nan')), 'sigma must not be negative, got nan'),
    (dict(min_cell_size=-2), 'min_cell_size must not be negative, got -2'),
    (dict(min_size=-3), 'min_size must not be negative, got -3'),
    (dict(scale=float('inf')), r'scale must be at most 1e\+09, got inf'),
    (dict(sigma=1e6), r'sigma must be at most 1000, got 1e\+06'),
    (dict(implementation='triton'), "'cpp', 'reference' or None, got 'triton'"),
], ids=str)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_regions(**{'image': np.zeros((4, 4, 3), np.uint8), **arguments})


def test_without_scikit_image_a_sentence_says_what_helps(monkeypatch):
    monkeypatch.setitem(sys.modules, 'skimage.segmentation', None)
    with pytest.raises(ImportError, match='superpixels from scikit-image.*pip install scikit-im'):
        hierarchical_regions(np.zeros((4, 4, 3), np.uint8))


@needs_extension
def test_cells_that_are_not_connected_are_refused():
    counts, boxes = torch.ones(3, 2).int(), torch.zeros(3, 4).long()
    with pytest.raises(RuntimeError, match='not connected'):
        torch.ops.mmseg_ext.merge_cells([counts], torch.tensor([2, 2, 2]), boxes,
                                        torch.tensor([[0, 1]]), 6)
