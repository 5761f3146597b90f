# CPU-sized: two VGG-11, a quarter of their width, for drawn scenes. `model` trains the one that
# localizes, `semantic` is the other. The map of conv4 has stride 8.
network = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(128, 128),
        pad_val=0,
        seg_pad_val=255),
    backbone=dict(
        type='VGG', depth=11, base_channels=16, norm_cfg=dict(type='BN'), out_indices=(3, )),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
semantic = dict(
    network,
    decode_head=dict(
        type='FCNHead',
        in_channels=128,
        in_index=0,
        channels=64,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=12,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)))
model = dict(
    type='PixelBoxInstanceSegmentor',
    localization=dict(
        network,
        decode_head=dict(
            type='LocalizationHead',
            in_channels=128,
            in_index=0,
            num_classes=12,
            background=(0, 1, 2, 3, 4, 5, 9, 10, 11),
            box_coder=dict(type='PixelBoxCoder', unit=16),
            classifier='multi-layer',
            hidden_channels=64,
            kernel_size=3,
            dilation=1)),
    min_size=10)
