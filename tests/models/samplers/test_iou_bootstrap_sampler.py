from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import TASK_UTILS
from mmseg.structures import SegDataSample
from pixel_boxes_cases import CODER, nothing_counts, some_pred, some_target

from mmseg_ext.models import IoUBootstrapSampler, LocalizationLoss

HEAD = SimpleNamespace(box_coder=CODER)


def iou_by_loops(pred, target):
    """The IoU of each pixel's two boxes, by arithmetic on numbers."""
    iou = torch.zeros(target.valid.shape)
    boxes = CODER.decode(pred)
    for n, y, x in target.valid.nonzero().tolist():
        a, b = boxes[n, :, y, x].tolist(), target.boxes[n, :, y, x].tolist()
        width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
        height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
        areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        iou[n, y, x] = width * height / (sum(areas) - width * height)
    return iou


def kept_by_loops(pred, target, thresh, min_kept):
    iou = iou_by_loops(pred, target)
    kept = torch.zeros_like(target.valid)
    for n in range(len(iou)):
        pixels = [tuple(p) for p in target.valid[n].nonzero().tolist()]
        hard = [p for p in pixels if thresh is not None and iou[n][p] < thresh]
        if min_kept is not None and len(hard) < min_kept:
            hard = sorted(pixels, key=lambda p: iou[n][p].item())[:min_kept]
        if thresh is None and min_kept is None:
            hard = pixels
        for p in hard:
            kept[n][p] = True
    return kept


@pytest.mark.parametrize('thresh, min_kept', [(0.7, 3), (0.4, 1), (0.2, 7), (None, 4), (0.5, None),
                                              (None, None), (0.01, 512)])
def test_pixels_whose_box_is_right_are_dropped(thresh, min_kept):
    pred, target = some_pred(noise=0.3), some_target()
    sampler = TASK_UTILS.build(dict(type='IoUBootstrapSampler', context=HEAD, thresh=thresh,
                                    min_kept=min_kept))
    weight = sampler.sample(pred, target)
    kept = kept_by_loops(pred, target, thresh, min_kept)
    assert (weight > 0).equal(kept) and kept.any() and weight.dtype == torch.float32
    torch.testing.assert_close(weight, kept * (target.valid.sum() / kept.sum()))


@pytest.mark.parametrize('normalization', ['kept', 'valid', 'all'])
def test_size_weights_are_normalized_first_and_the_kept_are_counted(normalization):
    pred, target = some_pred(noise=0.3), some_target()
    sampler = IoUBootstrapSampler(HEAD, 0.5, 2, normalization)
    weight = sampler.sample(pred, target)
    loss = LocalizationLoss()
    each = loss(pred, target, reduction_override='none')
    kept = weight > 0
    assert 0 < kept.sum() < target.valid.sum()
    count = dict(kept=kept.sum(), valid=target.valid.sum(), all=kept.numel())[normalization]
    torch.testing.assert_close(loss(pred, target, weight=weight), each[kept].sum() / count)


def test_a_pixel_at_the_threshold_is_easy():
    target = some_target()
    right = target.transforms.clone()
    assert IoUBootstrapSampler(HEAD, 1.0, None).sample(right, target).eq(0).all()
    right[1, 2] += 0.1  # wider boxes
    kept = IoUBootstrapSampler(HEAD, 1.0, None).sample(right, target) > 0
    assert kept[1].equal(target.valid[1]) and not kept[0].any()


@pytest.mark.parametrize('min_kept', [1, 5])
def test_under_ties_exactly_min_kept_pixels_of_each_image_are_kept_the_first_ones(min_kept):
    target = some_target()
    kept = IoUBootstrapSampler(HEAD, 0.5, min_kept).sample(target.transforms, target) > 0
    for n in (0, 1):
        expected = target.valid[n].flatten().nonzero()[:min_kept]
        assert kept[n].flatten().nonzero().equal(expected)


def test_a_prediction_that_is_nan_is_as_hard_as_can_be():
    target, pred = some_target(), some_target().transforms.clone()
    pred[1, :, 2, 5] = torch.nan
    kept = IoUBootstrapSampler(HEAD, 0.7, 1).sample(pred, target) > 0
    assert kept[1].nonzero().tolist() == [[2, 5]]


def test_without_a_valid_pixel_no_weight_is_left():
    weight = IoUBootstrapSampler(HEAD).sample(some_pred(), nothing_counts(some_target()))
    assert weight.eq(0).all()


@pytest.mark.parametrize('wrong, message', [
    (dict(thresh=0), r'thresh is the IoU .* in \(0, 1\], or None; got 0'),
    (dict(thresh=1.5), 'thresh is the IoU .* got 1.5'),
    (dict(min_kept=0), 'min_kept must be a whole number of at least 1, or None; got 0'),
    (dict(normalization='numbers'), "must be 'kept', 'valid' or 'all', got 'numbers'"),
])
def test_a_wrong_argument_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        IoUBootstrapSampler(HEAD, **wrong)


def test_a_head_that_classifies_is_told_where_the_sampler_belongs():
    head = FCNHead(in_channels=4, channels=4, num_convs=1, num_classes=3,
                   sampler=dict(type='IoUBootstrapSampler'))
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 8, 8).long()))
    with pytest.raises(ValueError, match='LocalizationHead gives it: .* sample for FCNHead'):
        head.loss((torch.randn(1, 4, 8, 8), ), [sample], {})
