import numpy as np
import pytest
import torch
from cluster_pixel_boxes_cases import (
    CASES,
    INF,
    NAN,
    THRESHOLDS,
    apart,
    by_loops,
    clustered,
    small_numbers,
)

from mmseg_ext.ops import cluster_pixel_boxes, extension_loaded

IMPLEMENTATIONS = ['reference'] + (['cpp'] if extension_loaded() else [])
each_implementation = pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
needs_extension = pytest.mark.skipif(not extension_loaded(), reason='the extension is not built')


def run(*args, **kwargs):
    keep, cluster = cluster_pixel_boxes(*args, **kwargs)
    assert keep.dtype == cluster.dtype == torch.int64
    return keep.tolist(), cluster.tolist()


@each_implementation
def test_by_hand(implementation):
    """In score order: 2 is kept, 0 joins it, 3 is kept, 4 joins 2 although 3 is nearer, 1 joins 3.
    """
    boxes = torch.tensor([[0., 0, 10, 9], [4, 0, 13, 10], [0, 0, 10, 10], [4, 0, 14, 10],
                          [3, 0, 13, 10]])
    scores = torch.tensor([0.8, 0.1, 0.9, 0.7, 0.6])
    assert run(boxes, scores, 0.5, implementation=implementation) == ([2, 3], [0, 1, 0, 1, 0])


@pytest.mark.parametrize('iou_thr', THRESHOLDS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize('name', CASES)
@each_implementation
def test_it_does_what_loops_do(implementation, name, dtype, iou_thr):
    boxes, scores = (x.to(dtype) for x in CASES[name])
    assert run(boxes, scores, iou_thr, implementation=implementation) == by_loops(
        boxes, scores, iou_thr)


@pytest.mark.parametrize('seed', range(10))
@each_implementation
def test_ties_of_all_kinds(implementation, seed):
    boxes, scores = small_numbers(50, seed + 10)
    for iou_thr in THRESHOLDS:
        assert run(boxes, scores, iou_thr, implementation=implementation) == by_loops(
            boxes, scores, iou_thr)


@needs_extension
@pytest.mark.parametrize('boxes, scores', [
    clustered(10000, 30, 0.2), apart(1500), small_numbers(1500)],
    ids=['clustered', 'one each', 'ties'])
def test_chunks_on_any_number_of_threads(boxes, scores):
    """Several chunks, and within one several groups of kept boxes."""
    expected = run(boxes, scores, 0.5, implementation='reference')
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found = run(boxes, scores, 0.5, implementation='cpp')
        torch.set_num_threads(before)
        assert found == expected


@pytest.mark.parametrize('scale', [1, 3, 2.**-72, 2.**-60, 2.**60])
@each_implementation
def test_an_iou_that_equals_the_threshold_is_not_above_it(implementation, scale):
    scores = torch.tensor([1., 0.])
    for tenths in range(1, 11):
        boxes = scale * torch.tensor([[0., 0, 10, 1], [0, 0, tenths, 1]])
        iou = float(boxes[1, 2] * boxes[1, 3] / (boxes[0, 2] * boxes[0, 3]))
        below = float(np.nextafter(np.float32(iou), np.float32(0)))
        assert run(boxes, scores, iou, implementation=implementation)[1] == [0, 1]
        assert run(boxes, scores, below, implementation=implementation)[1] == [0, 0]
        # a decimal threshold, which float32 has rounded
        assert run(boxes, scores, tenths / 10, implementation=implementation)[1] == [0, 1]


@needs_extension
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64], ids=str)
def test_the_kernel_rounds_as_the_reference_does(dtype):
    """Thresholds are the very IoUs: a product that is fused with a sum would be seen."""
    boxes, scores = (x.to(dtype) for x in clustered(200, 1, 0.2))
    one, two = boxes[::2], boxes[1::2]
    area, other = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (one, two))
    sides = (one[:, 2:].minimum(two[:, 2:]) - one[:, :2].maximum(two[:, :2])).clamp(min=0)
    inside = sides[:, 0] * sides[:, 1]
    ious = inside / (area + other - inside)
    assert (ious > 0).all()
    for pair, iou in zip(boxes.view(-1, 2, 4), ious):
        below = torch.nextafter(iou, iou * 0)
        assert set(run(pair, scores[:2], float(iou), implementation='cpp')[1]) == {0, 1}
        assert set(run(pair, scores[:2], float(below), implementation='cpp')[1]) == {0}


@pytest.mark.parametrize('iou_thr', [0.3, 0.5, 0.7])
@each_implementation
def test_what_is_kept_is_what_mmcv_keeps(implementation, iou_thr):
    nms = pytest.importorskip('mmcv.ops').nms
    for seed, noise in enumerate((0.02, 0.1, 0.3)):
        boxes, scores = clustered(400, noise=noise, seed=seed)
        keep = cluster_pixel_boxes(boxes, scores, iou_thr, implementation=implementation)[0]
        assert torch.equal(keep, nms(boxes, scores, iou_threshold=iou_thr)[1])


@each_implementation
def test_the_order_of_the_boxes_is_of_no_account_where_scores_differ(implementation):
    boxes, scores = clustered(noise=0.2)
    keep, cluster = cluster_pixel_boxes(boxes, scores, 0.5, implementation=implementation)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    moved = cluster_pixel_boxes(boxes[order], scores[order], 0.5, implementation=implementation)
    assert torch.equal(order[moved[0]], keep) and torch.equal(moved[1], cluster[order])


@each_implementation
def test_of_equal_scores_the_lower_index_comes_first(implementation):
    boxes = torch.tensor([[9., 9, 12, 12], [0, 0, 4, 4], [0, 0, 4, 3], [9, 9, 12, 11]])
    for zeros in ([0., 0, 0, 0], [-0., 0, 0., -0.]):
        assert run(boxes, torch.tensor(zeros), 0.5, implementation=implementation) == (
            [0, 1], [0, 1, 1, 0])


@pytest.mark.parametrize('broken', [[NAN, 0, 4, 4], [0, 0, 4, INF], [-INF, 0, INF, 4],
                                    [4, 0, 0, 4], [4, 4, 0, 0], [0, 0, 4, 0], [0, 0, 3e38, 3e38]])
@each_implementation
def test_a_box_without_a_finite_area_stays_alone(implementation, broken):
    boxes = torch.tensor([[0., 0, 4, 4], broken, broken, [0, 0, 4, 4]])
    assert run(boxes, torch.tensor([0.4, 0.3, 0.5, 0.2]), 0., implementation=implementation) == (
        [2, 0, 1], [1, 2, 0, 1])


@each_implementation
def test_a_score_of_nan_comes_last_and_its_box_stays_alone(implementation):
    boxes = torch.tensor([[0., 0, 4, 4]]).repeat(5, 1)
    scores = torch.tensor([NAN, -INF, NAN, 0.5, -INF])
    assert run(boxes, scores, 0.5, implementation=implementation) == ([3, 0, 2], [1, 0, 2, 0, 0])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@each_implementation
def test_short_types_are_computed_in_float32(implementation, dtype):
    boxes, scores = (x.to(dtype) for x in clustered(noise=0.2))
    expected = run(boxes.float(), scores.float(), 0.5, implementation='reference')
    assert run(boxes, scores, 0.5, implementation=implementation) == expected
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert run(boxes, scores, 0.5, implementation=implementation) == expected


@each_implementation
def test_the_wider_type_decides(implementation):
    boxes = torch.tensor([[0., 0, 4, 4], [0, 0, 4, 4]])
    scores = torch.tensor([0.5, 0.5 + 1e-12]).double() + torch.tensor([0, 1e-12]).double()
    assert run(boxes, scores, 0.5, implementation=implementation)[0] == [1]
    far = torch.tensor([[0., 0, 4, 4], [0, 0, 3, 4]]).double() + 2**30  # float32: no area
    assert run(far, torch.ones(2), 0.5, implementation=implementation)[0] == [0]


@each_implementation
def test_views_and_no_gradient(implementation):
    boxes, scores = clustered(noise=0.2)
    expected = run(boxes, scores, 0.5, implementation=implementation)
    wide = torch.stack([boxes, boxes + 1], dim=-1).requires_grad_()[..., 0]
    found = cluster_pixel_boxes(wide, scores.repeat_interleave(2)[::2].requires_grad_(), 0.5,
                                implementation=implementation)
    assert tuple(x.tolist() for x in found) == expected
    assert not any(x.requires_grad for x in found)
    assert run(boxes.t().contiguous().t(), scores, 0.5, implementation=implementation) == expected


@needs_extension
@pytest.mark.skipif(not hasattr(torch.library, 'opcheck'), reason='this torch has no opcheck')
def test_opcheck():
    for boxes, scores in (clustered(20), CASES['one']):
        for dtype in (torch.float32, torch.float64):
            torch.library.opcheck(torch.ops.mmseg_ext.cluster_pixel_boxes.default,
                                  (boxes.to(dtype), scores.to(dtype), 0.5))


@needs_extension
@pytest.mark.skipif(not hasattr(torch.library, 'impl_abstract'), reason='needs torch 2.2')
def test_a_compiler_goes_on_behind_it():
    """As behind torch.nonzero, where this setting allows sizes that depend on values."""

    @torch.compile(backend='aot_eager', fullgraph=True)
    def sizes_of_clusters(boxes, scores):
        keep, cluster = cluster_pixel_boxes(2 * boxes, scores, 0.5)
        return torch.zeros_like(keep).index_add(0, cluster, torch.ones_like(cluster))

    boxes, scores = clustered(noise=0.2)
    cluster = cluster_pixel_boxes(boxes, scores, 0.5)[1]
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        assert torch.equal(sizes_of_clusters(boxes, scores), cluster.bincount())


def test_a_compiler_that_may_not_calls_it():
    boxes, scores = clustered(noise=0.2)
    compiled = torch.compile(lambda *args: cluster_pixel_boxes(*args)[1] + 1, backend='aot_eager')
    assert torch.equal(compiled(boxes, scores, 0.5), cluster_pixel_boxes(boxes, scores, 0.5)[1] + 1)


@pytest.mark.parametrize('boxes, scores, iou_thr, message', [
    ([[0.] * 4], torch.zeros(1), 0.5, 'boxes must be a tensor, got list'),
    (torch.zeros(2, 5), torch.zeros(2), 0.5, r'\(P, 4\) and scores \(P,\).*got \(2, 5\) and \(2,'),
    (torch.zeros(2, 4), torch.zeros(3), 0.5, r'same P, got \(2, 4\) and \(3,\)'),
    (torch.zeros(2, 4), torch.zeros(2, 1), 0.5, r'same P, got \(2, 4\) and \(2, 1\)'),
    (torch.zeros(2, 4).long(), torch.zeros(2), 0.5, 'floating-point tensors, got torch.int64'),
    (torch.zeros(2, 4), torch.zeros(2).long(), 0.5, 'and torch.int64'),
    (torch.zeros(2, 4), torch.zeros(2), 1.1, 'iou_thr must be from 0 to 1, got 1.1'),
    (torch.zeros(2, 4), torch.zeros(2), NAN, 'iou_thr must be from 0 to 1, got nan'),
    (torch.zeros(2, 4), torch.zeros(2), '0.5', "iou_thr must be from 0 to 1, got '0.5'")])
def test_wrong_arguments_are_refused(boxes, scores, iou_thr, message):
    with pytest.raises(ValueError, match=message):
        cluster_pixel_boxes(boxes, scores, iou_thr, implementation='reference')
