import pytest
import torch
import torch.nn.functional as F
from mmengine import ConfigDict
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.models import StagewiseEncoderDecoder


def build(type='StagewiseEncoderDecoder', head=None, align_corners=False, **test_cfg):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type=type,
            backbone=dict(type='VGG', depth=11, base_channels=2),
            decode_head=head or dict(
                type='LRNHead', in_channels=[2, 4, 8, 16, 16, 16], num_classes=3,
                align_corners=align_corners,
                loss_decode=dict(type='ClassWeightedCrossEntropyLoss')),
            test_cfg=ConfigDict(**(test_cfg or dict(mode='whole'))))).eval()


def sample(flip=False, padding=(0, 0, 0, 0), ori_shape=(50, 60)):
    meta = dict(ori_shape=ori_shape, img_shape=(64, 64), pad_shape=(64, 64), flip=flip,
                flip_direction='horizontal', padding_size=list(padding))
    return SegDataSample(metainfo=meta)


@torch.no_grad()
@pytest.mark.parametrize('test_cfg', [
    dict(mode='whole'),
    dict(mode='slide', crop_size=(48, 48), stride=(32, 32)),
], ids=['whole', 'slide'])
def test_the_final_map_is_that_of_the_stock_segmentor(test_cfg):
    image = torch.randn(1, 3, 64, 64)
    ours = build(**test_cfg).predict(image, [sample()])[0]
    stock = build('EncoderDecoder', **test_cfg).predict(image, [sample()])[0]
    assert ours.pred_sem_seg.data.equal(stock.pred_sem_seg.data)
    torch.testing.assert_close(ours.seg_logits.data, stock.seg_logits.data)
    assert ours.stage_sem_seg.data[-1].equal(stock.pred_sem_seg.data[0].to(torch.uint8))


@torch.no_grad()
def test_stage_k_is_what_the_head_predicts_at_stage_k():
    model, image = build(), torch.randn(2, 3, 64, 64)
    results = model.predict(image)
    stages = model.decode_head(model.extract_feat(image))
    for k, logits in enumerate(stages):
        full = torch.nn.functional.interpolate(logits, (64, 64), mode='bilinear')
        for n in range(2):
            assert results[n].stage_sem_seg.data[k].equal(full[n].argmax(0).to(torch.uint8))


@torch.no_grad()
def test_padding_and_flip_are_undone_for_every_stage():
    model, image = build(), torch.randn(1, 3, 64, 64)
    straight = model.predict(image, [sample(ori_shape=(64, 64))])[0].stage_sem_seg.data
    flipped = model.predict(image, [sample(flip=True, ori_shape=(64, 64))])[0].stage_sem_seg.data
    assert flipped.equal(straight.flip(-1))
    padded = model.predict(image, [sample(padding=(4, 6, 2, 8), ori_shape=(54, 54))])[0]
    assert isinstance(model, StagewiseEncoderDecoder)
    assert padded.stage_sem_seg.data.equal(straight[:, 2:56, 4:58])


@torch.no_grad()
@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical'])
@pytest.mark.parametrize('size, original, padding', [
    ((64, 64), (50, 60), (0, 0, 0, 0)),
    ((48, 75), (90, 131), (7, 4, 2, 1)),  # left, right, top, bottom
    ((64, 48), (33, 20), (0, 0, 5, 0))])
@pytest.mark.parametrize('key, align_corners', [
    ('padding_size', False), ('img_padding_size', True)])  # in training, at test
def test_every_stage_is_brought_to_the_original_image_by_bilinear_resizing(
        key, align_corners, size, original, padding, direction):
    model, image = build(align_corners=align_corners), torch.randn(2, 3, *size)

    def resize(logits, size):
        return F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)

    stages = [torch.randn(2, 3, -(-size[0] // 2**k), -(-size[1] // 2**k)) for k in range(5, -1, -1)]
    model.decode_head.forward = lambda features: stages
    left, right, top, bottom = padding
    meta = dict(ori_shape=original, img_shape=size, pad_shape=size, flip=direction is not None,
                flip_direction=direction, **{key: list(padding)})
    results = model.predict(image, [SegDataSample(metainfo=meta) for _ in range(2)])
    for k, logits in enumerate(stages):
        full = resize(logits, size)
        full = full[:, :, top:size[0] - bottom, left:size[1] - right]
        if direction is not None:
            full = full.flip(3 if direction == 'horizontal' else 2)
        expected = resize(full, original).argmax(dim=1)
        for n in range(2):
            assert results[n].stage_sem_seg.data[k].equal(expected[n].to(torch.uint8))


@torch.no_grad()
@pytest.mark.parametrize('num_classes, dtype', [(256, torch.uint8), (300, torch.int16)])
def test_stage_maps_have_room_for_the_number_of_every_class(num_classes, dtype):
    head = dict(type='LRNHead', in_channels=[2, 4, 8, 16, 16, 16], num_classes=num_classes,
                channels=4, loss_decode=dict(type='ClassWeightedCrossEntropyLoss'))
    model, image = build(head=head), torch.randn(1, 3, 64, 64)
    for k, stage in enumerate([model.decode_head.top, *model.decode_head.refinements]):
        stage.bias[num_classes - 1 - k] += 1000.
    result = model.predict(image)[0]
    assert result.stage_sem_seg.data.dtype == dtype
    for k, stage in enumerate(result.stage_sem_seg.data.tolist()):
        # what stage k - 1 is sure of has some weight at stage k
        logits = model.decode_head(model.extract_feat(image))[k]
        full = F.interpolate(logits, (64, 64), mode='bilinear')[0].argmax(dim=0)
        assert stage == full.tolist()
    assert result.stage_sem_seg.data[0].eq(num_classes - 1).all()


def test_a_head_without_stages_is_refused():
    head = dict(type='FCNHead', in_channels=16, channels=4, num_classes=3)
    with pytest.raises(TypeError, match='needs a decode head with stages.*got FCNHead'):
        build(head=head)


@torch.no_grad()
def test_binary_stages_are_thresholded():
    head = dict(type='LRNHead', in_channels=[2, 4, 8, 16, 16, 16], num_classes=2, out_channels=1,
                threshold=0.4, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))
    model, image = build(head=head), torch.randn(1, 3, 64, 64)
    stages = model.predict(image)[0].stage_sem_seg.data
    logits = model.decode_head(model.extract_feat(image))[2]
    full = torch.nn.functional.interpolate(logits, (64, 64), mode='bilinear')
    assert stages[2].equal((full[0, 0].sigmoid() > 0.4).to(torch.uint8))
