import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ext.evaluation import SemanticEdgeMetric
from mmseg_ext.ops import semantic_edges

#   edges:                  .  .  x  x  .  .  .  .
LABEL = torch.tensor([[[0, 0, 0, 1, 1, 255, 2, 2]]])
FOUND = torch.tensor([[[0, 1, 1, 0, 0, 1, 0, 0]]])


def by_loop(pairs):
    """Edges found rightly, edges found, true edges: pixel by pixel, neighbour by neighbour."""
    hits = found = true = 0
    for pred, label in pairs:
        height, width = label.shape[1:]
        for y, x in np.ndindex(height, width):
            if label[0, y, x] == 255:
                continue
            around = label[0, max(y - 1, 0):y + 2, max(x - 1, 0):x + 2]
            edge = bool(((around != label[0, y, x]) & (around != 255)).any())
            hits += edge and bool(pred[0, y, x])
            found += bool(pred[0, y, x])
            true += edge
    return hits, found, true


def random_pair(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 2, (1, height, width), generator=generator)
    label = label.masked_fill(torch.rand(1, height, width, generator=generator) < 0.2, 255)
    return torch.randint(0, 2, (1, height, width), generator=generator), label


def evaluate(pairs, **kwargs):
    evaluator = Evaluator(SemanticEdgeMetric(**kwargs))
    for pred, label in pairs:
        evaluator.process([SegDataSample(
            pred_sem_seg=PixelData(data=pred), gt_sem_seg=PixelData(data=label))])
    return evaluator.evaluate(len(pairs))


def test_a_line_counted_by_hand():
    counts = SemanticEdgeMetric.calculate(FOUND == 1, LABEL, 255)
    assert counts.tolist() == [1, 2, 2] and counts.dtype == torch.int64
    assert evaluate([(FOUND, LABEL)]) == {
        'edge/precision': 50., 'edge/recall': 50., 'edge/F': 50.}


def test_pixels_of_all_images_are_counted_together():
    # of unequal size: a mean over images would be another number
    pairs = [random_pair(0, 11, 13), random_pair(1, 3, 4), random_pair(2, 20, 6)]
    hits, found, true = by_loop(pairs)
    assert evaluate(pairs) == pytest.approx({
        'edge/precision': 100 * hits / found, 'edge/recall': 100 * hits / true,
        'edge/F': 2 * 100 * hits / (found + true)}, abs=1e-3)
    assert hits / found != pytest.approx(hits / true, abs=0.01)


def test_edges_that_are_all_found_and_no_others_are_100():
    label = random_pair(0, 11, 13)[1]
    assert set(evaluate([(semantic_edges(label).long(), label)]).values()) == {100.}


def test_any_value_but_0_is_an_edge():
    assert evaluate([(7 * FOUND, LABEL)]) == evaluate([(FOUND, LABEL)])


def test_another_label_can_be_ignored():
    label = LABEL.masked_fill(LABEL == 255, 3)
    assert evaluate([(FOUND, label)], ignore_index=3) == evaluate([(FOUND, LABEL)])
    assert evaluate([(FOUND, label)]) != evaluate([(FOUND, LABEL)])


@pytest.mark.parametrize('pred, label, undefined', [
    (torch.zeros(1, 1, 8), LABEL, ['edge/precision']),
    (FOUND, torch.zeros_like(LABEL), ['edge/recall']),
    (torch.zeros(1, 1, 8), torch.zeros_like(LABEL), ['edge/precision', 'edge/recall', 'edge/F'])])
def test_what_cannot_be_divided_is_nan(pred, label, undefined):
    metrics = evaluate([(pred, label)])
    assert [name for name, value in metrics.items() if np.isnan(value)] == undefined
    assert all(value == 0 for name, value in metrics.items() if name not in undefined)
