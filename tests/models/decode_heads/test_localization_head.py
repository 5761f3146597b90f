import math
import os

import numpy as np
import pytest
import torch
import torch.nn as nn
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import LocalizationHead

REAL = os.path.join(os.environ.get('MMSEG_EXT_DATA', ''), 'voc_style_instances')
#: Labels that are no object in ScenesDataset: all but car, pedestrian and cyclist.
STUFF = (0, 1, 2, 3, 4, 5, 9, 10, 11)


def make_head(**kwargs):
    kwargs = dict(dict(num_classes=4, kernel_size=3, dilation=2), **kwargs)
    torch.manual_seed(0)
    head = LocalizationHead(4, **kwargs)
    head.init_weights()
    return head


def some_samples(size=(21, 26), images=2, seed=0, labels=4):
    """Rectangles of instances over each other, in one of the labels; some pixels are ignored."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(images):
        label, instances = np.zeros(size, np.int64), np.zeros(size, np.int32)
        for number in rng.permutation(30)[:7]:
            y, x = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
            h, w = rng.integers(1, 12, 2)
            instances[y:y + h, x:x + w] = number + 1
            label[y:y + h, x:x + w] = rng.integers(0, labels)
        label[rng.random(size) < 0.1] = 255
        samples.append(SegDataSample(
            gt_sem_seg=PixelData(data=torch.from_numpy(label)[None]),
            gt_instances=PixelData(data=torch.from_numpy(instances)[None])))
    return samples


def points(size, stride):
    """Pixels that the loss sees, (y, x) of each (i, j); None where they lie outside the image."""
    grid = [-(-side // stride) for side in size]
    for i in range(grid[0]):
        for j in range(grid[1]):
            y, x = stride // 2 + stride * i, stride // 2 + stride * j
            yield (i, j), (y, x) if y < size[0] and x < size[1] else None


def box_of(sample, y, x):
    """The box of a pixel's instance by loops: x1, y1, x2, y2; None if it has none."""
    number = sample.gt_instances.data[0, y, x]
    if number == 0:
        return None
    pixels = (sample.gt_instances.data[0] == number).nonzero().tolist()
    ys, xs = zip(*pixels)
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def perfect_output(head, samples, size, stride, right=True):
    """What the head would have to give, (N, 4 F, h, w), by the formula of the coder, by loops."""
    grid = [-(-side // stride) for side in size]
    output = torch.zeros(len(samples), 4 * len(head.classes), *grid)
    for n, sample in enumerate(samples):
        for (i, j), point in points(size, stride):
            box = None if point is None else box_of(sample, *point)
            label = 255 if box is None else int(sample.gt_sem_seg.data[0, point[0], point[1]])
            if label not in head.classes:
                continue
            x1, y1, x2, y2 = box
            x, y = point[1] + 0.5, point[0] + 0.5
            first = 4 * head.classes.index(label)
            output[n, first:first + 4, i, j] = torch.tensor([
                ((x1 + x2) / 2 - x) / 32, ((y1 + y2) / 2 - y) / 32,
                math.log((x2 - x1) / 32), math.log((y2 - y1) / 32)])
    return output


@pytest.mark.parametrize('num_classes, background, classes', [
    (21, 0, list(range(1, 21))), (12, STUFF, [6, 7, 8]), (3, None, [0, 1, 2]), (3, (), [0, 1, 2]),
    (3, [2, 0], [1])])
def test_each_label_that_has_instances_has_four_channels(num_classes, background, classes):
    head = make_head(num_classes=num_classes, background=background)
    assert head.classes == classes and head.out_channels == 4 * len(classes)
    assert head((torch.randn(2, 4, 5, 7), )).shape == (2, 4 * len(classes), 5, 7)


@pytest.mark.parametrize('classifier', ['linear', 'multi-layer'])
def test_it_is_an_fcrn_head_of_other_outputs(classifier):
    head = make_head(classifier=classifier, hidden_channels=6, kernel_size=5, dilation=12)
    assert head.conv_seg.kernel_size == (5, 5) and head.conv_seg.dilation == (12, 12)
    assert head.conv_seg.in_channels == (4 if classifier == 'linear' else 6)
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=.2)


@pytest.mark.parametrize('background', [0, None, (1, 3)])
@pytest.mark.parametrize('stride', [None, 2, 3, 8])
def test_targets_and_their_pixels_are_those_of_loops(stride, background):
    size, samples = (21, 26), some_samples()
    head = make_head(label_stride=stride, background=background)
    target, rows = head.pixel_boxes(samples)
    output = perfect_output(head, samples, size, stride or 1)
    assert 0 < target.valid.float().mean() < 1
    for n, sample in enumerate(samples):
        for (i, j), point in points(size, stride or 1):
            box = None if point is None else box_of(sample, *point)
            label = 255 if box is None else int(sample.gt_sem_seg.data[0, point[0], point[1]])
            assert target.valid[n, i, j] == (label in head.classes)
            if label in head.classes:
                row = head.classes.index(label)
                assert rows[n, i, j] == row
                centre = torch.tensor([point[1], point[0]] * 2) + 0.5
                torch.testing.assert_close(target.boxes[n, :, i, j], torch.tensor(box) - centre)
                torch.testing.assert_close(
                    target.transforms[n, :, i, j], output[n, 4 * row:4 * row + 4, i, j])
    assert rows[~target.valid].eq(0).all()
    assert all(part.isfinite().all() for part in target[:2])


@pytest.mark.parametrize('source', ['drawn', 'real'])
def test_the_box_of_a_cropped_instance_is_that_of_what_is_left(source):
    moves = [dict(type='Resize', scale=(110, 90)), dict(type='RandomRotate', prob=1., degree=20),
             dict(type='RandomCrop', crop_size=(48, 64)), dict(type='RandomFlip', prob=1.),
             dict(type='Pad', size=(72, 56)), dict(type='PackInstanceInputs')]
    if source == 'drawn':
        dataset = dict(type='ScenesDataset', num_images=2, size=(96, 128), pipeline=moves)
    elif not os.path.isdir(REAL):
        pytest.skip('MMSEG_EXT_DATA has no folder voc_style_instances')
    else:
        load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                dict(type='LoadInstanceAnnotations')]
        dataset = dict(type='PascalVOCInstanceDataset', data_root=REAL, indices=2,
                       pipeline=load + moves)
    np.random.seed(0)
    samples = [item['data_samples'] for item in DATASETS.build(dataset)]
    head = make_head(num_classes=21, background=None)
    target, _ = head.pixel_boxes(samples)
    pixels = target.valid.nonzero().tolist()
    assert target.valid.shape == (2, 56, 72) and len(pixels) > 200
    for n, y, x in pixels[::37]:
        corners = torch.tensor(box_of(samples[n], y, x)) - torch.tensor([x, y, x, y]) - 0.5
        torch.testing.assert_close(target.boxes[n, :, y, x], corners)


@pytest.mark.parametrize('stride', [None, 8])
def test_a_perfect_output_has_no_loss_and_an_iou_of_100(stride):
    size, samples = (24, 32), some_samples((24, 32))
    head = make_head(label_stride=stride)
    output = perfect_output(head, samples, size, stride or 1)
    losses = head.loss_by_feat(output, samples)
    assert losses['loss_box'].item() == pytest.approx(0, abs=1e-6)
    assert losses['iou_box'].item() == pytest.approx(100, abs=1e-3)
    assert set(losses) == {'loss_box', 'iou_box'}


def test_only_the_channels_of_a_pixels_own_class_are_trained():
    samples = some_samples()
    head = make_head(label_stride=1)
    output = torch.randn(2, 12, 21, 26, requires_grad=True)
    head.loss_by_feat(output, samples)['loss_box'].backward()
    trained = output.grad.unflatten(1, (3, 4)).abs().sum(dim=2) > 0
    for n, sample in enumerate(samples):
        label, instances = sample.gt_sem_seg.data[0], sample.gt_instances.data[0]
        for row, expected in enumerate((1, 2, 3)):
            assert trained[n, row].equal((label == expected) & (instances > 0))


def test_without_a_label_stride_the_output_is_enlarged_to_the_labels():
    samples = some_samples((24, 32))
    output = torch.randn(2, 12, 3, 4)
    full = nn.functional.interpolate(output, (24, 32), mode='bilinear')
    head = make_head()
    torch.testing.assert_close(head.loss_by_feat(output, samples), head.loss_by_feat(full, samples))


def test_instances_are_padded_like_the_labels_by_the_preprocessor():
    """The second image is smaller; mmseg's preprocessor pads its labels alone."""
    samples = some_samples((16, 24), 1) + some_samples((13, 17), 1, seed=1)
    alone, _ = make_head().pixel_boxes(samples[1:])
    model = MODELS.build(dict(type='SegDataPreProcessor', size=(16, 24)))
    inputs = [torch.zeros(3, 16, 24), torch.zeros(3, 13, 17)]
    padded = model(dict(inputs=inputs, data_samples=samples), training=True)['data_samples']
    target, _ = make_head().pixel_boxes(padded)
    assert target.valid.shape == (2, 16, 24)
    assert not target.valid[1, 13:].any() and not target.valid[1, :, 17:].any()
    assert target.valid[1, :13, :17].equal(alone.valid[0]) and alone.valid.any()
    valid = alone.valid.expand(4, 13, 17)
    assert target.boxes[1, :, :13, :17][valid].equal(alone.boxes[0][valid])


@pytest.mark.parametrize('stride', [None, 4])
def test_the_sampler_keeps_pixels_of_low_iou_and_losses_add_up(stride):
    samples = some_samples((48, 64))
    sampler = dict(type='IoUBootstrapSampler', thresh=0.6, min_kept=2)
    loss = dict(type='LocalizationLoss')
    output = perfect_output(make_head(), samples, (48, 64), stride or 1)
    output[0] += 0.3 * torch.randn_like(output[0])  # the second image is right
    head = make_head(label_stride=stride, sampler=sampler, loss_decode=[
        loss, dict(loss, loss_weight=2.), dict(loss, loss_name='loss_other')])
    losses = head.loss_by_feat(output, samples)
    torch.testing.assert_close(losses['loss_box'], 3 * losses['loss_other'])
    target, rows = head.pixel_boxes(samples)
    own = output.unflatten(1, (3, 4)).gather(
        1, rows[:, None, None].expand(-1, 1, 4, -1, -1)).squeeze(1)
    kept = head.sampler.sample(own, target) > 0
    each = head.loss_decode[0](own, target, reduction_override='none')
    assert 2 < kept.sum() < target.valid.sum()
    torch.testing.assert_close(losses['loss_other'], each[kept].mean())


@pytest.mark.parametrize('sampler', [None, dict(type='IoUBootstrapSampler')])
@pytest.mark.parametrize('what', ['no instance', 'background', 'ignored'])
def test_a_batch_in_which_nothing_counts_gives_every_parameter_a_gradient(what, sampler):
    samples = some_samples((16, 24))
    for sample in samples:
        if what == 'no instance':
            sample.gt_instances.data.zero_()
        else:
            sample.gt_sem_seg.data.fill_(0 if what == 'background' else 255)
    head = make_head(sampler=sampler, classifier='multi-layer', hidden_channels=6)
    losses = head.loss((torch.randn(2, 4, 4, 6), ), samples, {})
    losses['loss_box'].backward()
    assert losses['loss_box'] == 0 and losses['iou_box'] == 0
    assert all(p.grad is not None and p.grad.eq(0).all() for p in head.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_has_a_loss_in_single(dtype):
    samples = some_samples((24, 32))
    head = make_head(sampler=dict(type='IoUBootstrapSampler'))
    output = torch.randn(2, 12, 3, 4)
    half = head.loss_by_feat(output.to(dtype), samples)
    assert half['loss_box'].dtype == torch.float32
    torch.testing.assert_close(half, head.loss_by_feat(output, samples), rtol=0.05, atol=0.05)


# ------------------------------------------------------------------------------- prediction


@pytest.mark.parametrize('coder', [{}, dict(unit=5., size='linear')], ids=str)
def test_a_perfect_output_is_predicted_as_the_boxes_of_the_pixels(coder):
    samples = some_samples(labels=4)
    head = make_head(box_coder=dict(type='PixelBoxCoder', **coder))
    target, rows = head.pixel_boxes(samples)
    output = torch.zeros(2, 3, 4, 21, 26).scatter(
        1, rows[:, None, None].expand(-1, 1, 4, -1, -1), target.transforms[:, None])
    boxes = head.predict_by_feat(output.flatten(1, 2), [dict(img_shape=(21, 26))] * 2)
    assert boxes.shape == (2, 3, 4, 21, 26) and boxes.dtype == torch.float32
    for n, y, x in target.valid.nonzero().tolist():
        torch.testing.assert_close(
            boxes[n, rows[n, y, x], :, y, x], torch.tensor(box_of(samples[n], y, x)).float())


@pytest.mark.parametrize('stride', [4, 8])
def test_the_boxes_of_a_grid_are_right_at_its_points_and_between_those_of_one_instance(stride):
    """One instance over a whole image, up to its borders, where offsets would be wrong."""
    size = (24, 32)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.ones(1, *size).long()),
                           gt_instances=PixelData(data=torch.ones(1, *size).int()))
    head = make_head(label_stride=stride)
    output = perfect_output(head, [sample], size, stride)
    boxes = head.predict_by_feat(output, [dict(img_shape=size)])
    expected = torch.tensor([0., 0., 32., 24.])[:, None, None].expand(4, *size)
    torch.testing.assert_close(boxes[0, 0], expected)


def test_some_classes_are_predicted_by_their_labels_at_the_padded_size():
    head = make_head(num_classes=12, background=STUFF)
    head.eval()
    features = (torch.randn(1, 4, 3, 4), )
    metas = [dict(img_shape=(20, 30), pad_shape=(24, 32, 3))]
    every = head.predict(features, metas, dict(mode='whole'))
    assert every.shape == (1, 3, 4, 24, 32)
    some = head.predict(features, metas, dict(mode='whole'), classes=[8, 6])
    torch.testing.assert_close(some, every[:, [2, 0]])
    assert head.predict(features, metas, None, classes=[]).shape == (1, 0, 4, 24, 32)
    with pytest.raises(ValueError, match=r'boxes of the classes \[6, 7, 8\], but \[0\] was asked'):
        head.predict(features, metas, None, classes=[0])
    with pytest.raises(ValueError, match="cannot be tested with mode='slide'.*mode='whole'"):
        head.predict(features, metas, dict(mode='slide'))


# ---------------------------------------------------------------------------- in a training


@pytest.mark.parametrize('label_stride', [None, 8])
def test_a_small_model_learns_the_boxes_of_drawn_scenes(label_stride):
    torch.manual_seed(0)
    dataset = DATASETS.build(dict(
        type='ScenesDataset', num_images=2, size=(60, 76), pipeline=[
            dict(type='PackInstanceInputs')]))
    batch = [dataset[index] for index in (0, 1)]
    data = {key: [sample[key] for sample in batch] for key in ('inputs', 'data_samples')}
    model = MODELS.build(dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[120.] * 3, std=[60.] * 3, size_divisor=8),
        backbone=dict(type='VGG', depth=11, base_channels=4, out_indices=(3, ),
                      norm_cfg=dict(type='BN')),
        decode_head=dict(
            type='LocalizationHead', in_channels=32, num_classes=12, background=STUFF,
            kernel_size=3, dilation=1, label_stride=label_stride,
            sampler=dict(type='IoUBootstrapSampler', min_kept=40))))
    data = model.data_preprocessor(data, training=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    found = []
    for _ in range(15):
        losses = model(**data, mode='loss')
        optimizer.zero_grad()
        losses['decode.loss_box'].backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        found.append([losses[f'decode.{name}'].item() for name in ('loss_box', 'iou_box')])
    assert found[-1][0] < 0.6 * found[0][0]
    assert found[-1][1] > 2 * found[0][1]


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize('wrong, message', [
    (dict(background=4), 'background must be among the labels 0 to 3, .* got 4'),
    (dict(background=(0, 1, 2, 3)), 'leave one that has instances'),
    (dict(loss_decode=dict(type='CrossEntropyLoss')), 'compare boxes .* got CrossEntropyLoss'),
    (dict(sampler=dict(type='BootstrapPixelSampler', min_kept=5)),
     'compare boxes .* got BootstrapPixelSampler'),
    (dict(kernel_size=4), 'must be odd, got 4'),
])
def test_a_wrong_argument_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_head(**wrong)


def test_samples_that_do_not_fit_are_refused():
    samples = some_samples((16, 24))
    with pytest.raises(ValueError, match='LocalizationHead label_stride=8 makes 2x3 points of 16x'):
        make_head(label_stride=8).loss_by_feat(torch.zeros(2, 12, 4, 6), samples)
    samples[0].gt_sem_seg.data[0, 3, 3] = 4
    with pytest.raises(ValueError, match='labels hold 4, which is neither one of the 4 classes'):
        make_head().loss_by_feat(torch.zeros(2, 12, 4, 6), samples)
    large = some_samples((16, 25))
    large[1].gt_sem_seg = samples[1].gt_sem_seg
    with pytest.raises(ValueError, match=r'gt_instances has \(16, 25\) .*gt_sem_seg \(16, 24\)'):
        make_head().loss_by_feat(torch.zeros(2, 12, 4, 6), [samples[1], large[1]])
    del samples[1].gt_instances
    with pytest.raises(ValueError, match="'gt_instances'.: end the pipeline with PackInstanceIn"):
        make_head().loss_by_feat(torch.zeros(2, 12, 4, 6), samples[1:])
