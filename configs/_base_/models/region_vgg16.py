# VGG-16 up to conv5 at stride 16; regions and their boxes have separate weights (Sec. 3.3, 4.1).
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=16)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='VGG',
        depth=16,
        out_indices=(4, ),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')),
    decode_head=dict(
        type='RegionHead',
        in_channels=512,
        in_index=0,
        channels=4096,
        num_classes=33,
        roi_layer=dict(type='FreeFormRoIPool', output_size=7),
        loss_decode=dict(type='ClassWeightedCrossEntropyLoss', per_image=True),
        init_cfg=[
            dict(type='Normal', layer='Linear', std=0.01),
            dict(type='Pretrained', checkpoint='torchvision://vgg16')
        ]),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
