# DeepLab v3+ with Xception-71, whose ImageNet weights are timm's: configs/semeda/README.md,
# "Weights".
_base_ = './deeplabv3plus_r101-d16.py'
checkpoint = '{{$MMSEG_EXT_DATA:data}}/weights/xception71.pth'
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='Xception',
        depth=71,
        output_stride=16,
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
