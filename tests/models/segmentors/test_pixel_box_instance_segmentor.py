"""Instances from two segmentors: exact from true boxes, weights by init_cfg."""
import copy

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS, MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models.segmentors.pixel_box_instance_segmentor import boxes_of_original

LOADED = 'the checkpoint of the semantic network'
CLASSES = 12
THINGS = (6, 7, 8)
OTHERS = tuple(c for c in range(CLASSES) if c not in THINGS)


def network(head, **preprocessor):
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3,
                               **preprocessor),
        backbone=dict(type='VGG', depth=11, base_channels=2, out_indices=(2, ),
                      norm_cfg=dict(type='BN')),
        decode_head=dict(in_channels=8, in_index=0, num_classes=CLASSES, **head),
        train_cfg=dict(), test_cfg=ConfigDict(mode='whole'))


LOCALIZATION = network(
    dict(type='LocalizationHead', background=OTHERS, kernel_size=3, dilation=1),
    size=(48, 64), test_cfg=dict(size_divisor=32))
SEMANTIC = network(dict(type='FCNHead', channels=8, num_convs=0, concat_input=False),
                   bgr_to_rgb=True, size=(48, 64))


def model(semantic=None, **kwargs):
    cfg = copy.deepcopy(dict(localization=LOCALIZATION, semantic=semantic))
    return MODELS.build(dict(type='PixelBoxInstanceSegmentor', **cfg, **kwargs))


def scenes(count=2, size=(48, 64)):
    dataset = DATASETS.build(dict(
        type='ScenesDataset', num_images=count, size=size,
        pipeline=[dict(type='PackInstanceInputs')]))
    items = [dataset[i] for i in range(count)]
    return dict(inputs=[item['inputs'] for item in items],
                data_samples=[item['data_samples'] for item in items])


def true_boxes(instances):
    """Box of each pixel's instance, (4, H, W), and those of no instance anywhere."""
    boxes = torch.zeros(4, *instances.shape)
    for number in instances.unique():
        y, x = (instances == number).nonzero().unbind(dim=1)
        box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
        boxes[:, instances == number] = box[:, None]
    return boxes


def saved(tmp_path, part, **changes):
    torch.manual_seed(1)
    state = MODELS.build(copy.deepcopy(part)).state_dict()
    path = tmp_path / 'semantic.pth'
    torch.save(dict(state_dict={**state, **changes}), path)
    return dict(part, init_cfg=dict(type='Pretrained', checkpoint=str(path)))


@pytest.mark.parametrize('flip', [None, 'horizontal', 'vertical'])
@pytest.mark.parametrize('padding', [(0, 0, 0, 0), (3, 2, 1, 5)])
@pytest.mark.parametrize('factor', [1, 2, 3])
def test_true_boxes_give_the_instances_of_the_original_image(flip, padding, factor, monkeypatch):
    """The input is enlarged, flipped, padded, in this order, as a pipeline does."""
    batch = scenes(1, (40, 56))
    sample = batch['data_samples'][0]
    instances = sample.gt_instances.data[0]
    axes = dict(horizontal=[1], vertical=[0]).get(flip, [])
    left, right, top, bottom = padding
    moved = instances.repeat_interleave(factor, 0).repeat_interleave(factor, 1).flip(axes)
    moved = torch.nn.functional.pad(moved, padding)
    sample.set_metainfo(dict(img_padding_size=padding, flip=flip is not None, flip_direction=flip))
    segmentor = model(iou_thr=0.95, min_size=1).eval()
    head = segmentor.localization.decode_head
    segmentor.localization.data_preprocessor.test_cfg = None
    relative = true_boxes(moved) - head.centres(moved.shape, 'cpu')
    maps = head.box_coder.encode(relative).repeat(len(THINGS), 1, 1)[None]
    monkeypatch.setattr(head, 'forward', lambda inputs: maps)
    monkeypatch.setattr(segmentor.localization, 'extract_feat', lambda inputs: inputs)
    segmentor.predict([torch.zeros(3, *moved.shape)], [sample])
    found = sample.pred_instances
    expected = [instances == k for k in instances.unique()[1:]]
    assert len(found) == len(expected) > 2
    assert {m.numpy().tobytes() for m in found.masks} == {m.numpy().tobytes() for m in expected}
    for mask, box, label in zip(found.masks, found.bboxes, found.labels):
        torch.testing.assert_close(box, true_boxes(mask.int())[:, mask][:, 0], atol=1e-3, rtol=0)
        assert label == sample.gt_sem_seg.data[0][mask].mode().values
    metric = METRICS.build(dict(type='RegionAPMetric'))
    metric.dataset_meta = dict(classes=list(map(str, range(CLASSES))))
    metric.process({}, [sample.to_dict()])
    assert set(metric.evaluate(1).values()) == {100.}


def test_with_true_labels_the_inside_of_an_object_says_where_its_box_is(monkeypatch):
    """The pixels on its boundary, of which the first in reading order is one, see other boxes."""
    labels, inner = torch.zeros(1, 20, 20).long(), torch.zeros(20, 20).bool()
    labels[0, 3:17, 3:17], inner[4:16, 4:16] = THINGS[0], True
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=(20, 20), ori_shape=(20, 20)))
    segmentor = model(min_size=1).eval()
    segmentor.localization.data_preprocessor.test_cfg = None
    head = segmentor.localization.decode_head
    wrong = torch.tensor([0., 0, 9, 9]).view(4, 1, 1)
    boxes = torch.tensor([3., 3, 17, 17]).view(4, 1, 1).where(inner, wrong)
    maps = head.box_coder.encode(boxes - head.centres((20, 20), 'cpu')).repeat(3, 1, 1)[None]
    monkeypatch.setattr(head, 'forward', lambda inputs: maps)
    monkeypatch.setattr(segmentor.localization, 'extract_feat', lambda inputs: inputs)
    segmentor.predict([torch.zeros(3, 20, 20)], [sample])
    found = sample.pred_instances
    assert found.masks[0].equal(inner) and found.scores[0] > found.scores[1:].max()


def test_boxes_of_a_hand_made_input():
    boxes = torch.tensor([3., 2, 7, 4]).view(4, 1, 1).expand(4, 8, 12)
    meta = dict(ori_shape=(3, 5), img_padding_size=(1, 1, 2, 0), flip=True,
                flip_direction='horizontal')
    assert boxes_of_original(boxes, meta)[:, 1, 1].tolist() == [2, 0, 4, 1]


def test_an_enlarged_pixel_has_the_box_of_one_pixel_and_no_mean_of_two():
    boxes = torch.tensor([[0., 0, 1, 2], [5, 5, 9, 9]]).T[:, None]
    found = boxes_of_original(boxes, dict(ori_shape=(2, 4)))
    assert found[:, 1].T.tolist() == [[0, 0, 2, 4]] * 2 + [[10, 10, 18, 18]] * 2


def test_training_is_that_of_the_localization_network():
    segmentor, batch = model(), scenes()
    losses = segmentor(**segmentor.data_preprocessor(batch, True), mode='loss')
    alone = segmentor.localization
    expected = alone(**alone.data_preprocessor(scenes(), True), mode='loss')
    assert losses.keys() == expected.keys() and losses['decode.loss_box'] > 0
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name])
    losses['decode.loss_box'].backward()
    assert all(p.grad is not None for p in segmentor.parameters())


def test_images_are_not_normalized_twice():
    """mmengine's Runner gives every model the preprocessor at the top of a config."""
    segmentor, batch = model(data_preprocessor=LOCALIZATION['data_preprocessor']), scenes(1)
    assert segmentor.data_preprocessor(batch, True)['inputs'][0].equal(batch['inputs'][0])


def test_the_semantic_network_predicts_as_it_does_alone(tmp_path):
    """Its channel order and padding are its own; its checkpoint is read at the first prediction."""
    semantic = saved(tmp_path, SEMANTIC)
    alone = MODELS.build(copy.deepcopy(SEMANTIC)).eval()
    alone.load_state_dict(torch.load(tmp_path / 'semantic.pth')['state_dict'])
    with torch.no_grad():
        expected = [sample.pred_sem_seg.data for sample in alone.test_step(scenes())]
        segmentor = model(semantic, min_size=4, min_score=0.01).eval()
        before = segmentor.semantic.decode_head.conv_seg.weight.clone()
        results = segmentor.test_step(scenes())
    assert not segmentor.semantic.decode_head.conv_seg.weight.equal(before)
    for sample, labels in zip(results, expected):
        assert sample.pred_sem_seg.data.equal(labels)
        found = sample.pred_instances
        assert 'img_padding_size' not in sample  # of one of the networks
        assert found.masks.shape[1:] == (48, 64) and set(found.labels.tolist()) <= set(THINGS)
    assert sum(len(sample.pred_instances) for sample in results) > 0


def test_the_semantic_network_is_frozen_and_no_part_of_the_checkpoint(tmp_path):
    segmentor = model(saved(tmp_path, SEMANTIC)).train()
    assert not segmentor.semantic.training
    assert not any(p.requires_grad for p in segmentor.semantic.parameters())
    assert segmentor.state_dict().keys() == model().state_dict().keys()


def test_building_reads_no_checkpoint_and_leaves_the_random_numbers(tmp_path):
    torch.manual_seed(0)
    weights = dict(type='Pretrained', checkpoint=str(tmp_path / 'none.pth'))
    segmentor = model(dict(SEMANTIC, init_cfg=weights))
    after = torch.rand(1)
    torch.manual_seed(0)
    model()
    assert torch.rand(1).equal(after)
    with pytest.raises(FileNotFoundError, match=f'{LOADED}, .*none.pth, does not exist; make it '
                       'by python .*train.py CONFIG'):
        segmentor.test_step(scenes(1))


@pytest.mark.parametrize('changes', [
    dict(other=torch.ones(1)), {'decode_head.conv_seg.weight': torch.ones(3, 8, 1, 1)}])
def test_a_checkpoint_of_another_network_is_refused(tmp_path, changes):
    segmentor = model(saved(tmp_path, SEMANTIC, **changes))
    with pytest.raises(ValueError, match='is no checkpoint of the semantic network: 1 parameters'):
        segmentor.test_step(scenes(1))


def test_an_image_alone_needs_a_semantic_network(tmp_path):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 48)))
    with pytest.raises(ValueError, match='no semantic network and the image no labels'):
        model().eval().predict([image])
    result = model(saved(tmp_path, SEMANTIC)).eval().predict([image])[0]
    assert result.pred_instances.masks.shape[1:] == result.pred_sem_seg.shape == (40, 48)


def test_ignored_pixels_are_in_no_instance():
    segmentor = model(min_size=1).eval()
    sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
    labels = torch.full((1, 32, 32), 255)
    labels[:, :8] = THINGS[0]
    sample.gt_sem_seg = PixelData(data=labels)
    with torch.no_grad():
        segmentor.predict([torch.zeros(3, 32, 32)], [sample])
    masks = sample.pred_instances.masks
    assert masks[:, :8].any() and not masks[:, 8:].any()


@pytest.mark.parametrize('changes, message', [
    (dict(localization=SEMANTIC), 'needs a LocalizationHead as decode_head, got FCNHead'),
    (dict(localization=dict(LOCALIZATION, test_cfg=dict(mode='slide'))), "set mode='whole'"),
    (dict(semantic=SEMANTIC), r"semantic needs init_cfg=dict\(type='Pretrained'"),
    (dict(semantic=dict(network(dict(type='FCNHead', channels=8, num_convs=1)), init_cfg=dict(
        type='Pretrained', checkpoint='x'))), 'semantic has 5 classes and localization 12'),
    (dict(iou_thr=2), 'iou_thr must be'), (dict(top_n=0), 'n must be a whole number'),
    (dict(min_score=2), 'min_score must be from 0 to 1'),
    (dict(region_iou='all'), 'region_iou must be from 0 to 1')])
def test_wrong_arguments_are_refused_when_the_model_is_built(changes, message):
    cfg = copy.deepcopy(dict(dict(localization=LOCALIZATION), **changes))
    if 'classes' in message and cfg.get('semantic'):
        cfg['semantic']['decode_head']['num_classes'] = 5
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='PixelBoxInstanceSegmentor', **cfg))
