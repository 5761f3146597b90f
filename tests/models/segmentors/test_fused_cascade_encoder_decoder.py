"""mmseg's OCRNet, in small, as it is and with the fused segmentor."""
import copy

import torch
from mmengine import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_ext  # noqa: F401  (registers the plugins)

NORM = dict(type='BN')
LOSS = dict(type='CrossEntropyLoss')
HEAD = dict(in_channels=16, in_index=0, channels=8, num_classes=5, dropout_ratio=0, norm_cfg=NORM,
            align_corners=False, loss_decode=LOSS)


def models():
    config = dict(
        num_stages=2,
        backbone=dict(type='VGG', depth=11, base_channels=4, out_indices=(2, ), norm_cfg=NORM),
        decode_head=[
            dict(HEAD, type='FCNHead', num_convs=1),
            dict(HEAD, type='OCRHead', ocr_channels=4, sampler=dict(
                type='OHEMPixelSampler', thresh=0.3, min_kept=100))
        ],
        train_cfg=dict(), test_cfg=dict(mode='whole'))
    torch.manual_seed(0)
    built = [MODELS.build(ConfigDict(type=name, **copy.deepcopy(config)))
             for name in ('CascadeEncoderDecoder', 'FusedCascadeEncoderDecoder')]
    built[1].load_state_dict(built[0].state_dict())
    return [model.double() for model in built]


def batch():
    torch.manual_seed(0)
    meta = dict(img_shape=(40, 52), pad_shape=(40, 52), ori_shape=(60, 70))
    labels = torch.randint(5, (2, 1, 40, 52))
    return torch.randn(2, 3, 40, 52).double(), [
        SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=label)) for label in labels]


def test_every_head_of_the_cascade_is_fused(monkeypatch):
    theirs, ours = models()
    expected = theirs.train().loss(*batch())
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.resize', None)
    found = ours.train().loss(*batch())
    assert {'decode_0.loss_ce', 'decode_1.loss_ce', 'decode_1.acc_seg'} <= set(found)
    torch.testing.assert_close(found, expected, check_dtype=False)


@torch.no_grad()
def test_label_maps_are_those_of_mmseg(monkeypatch):
    theirs, ours = models()
    expected = theirs.eval().predict(*batch())
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.resize', None)
    found = ours.eval().predict(*batch())
    for a, b in zip(found, expected):
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
