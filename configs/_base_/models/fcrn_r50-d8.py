# FCRN paper, Sec. 2.3, "vanilla": no dropout, one linear classifier, plain cross entropy.
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        test_cfg=dict(size_divisor=16)),  # a position is as many pixels as in training
    backbone=dict(
        type='FCRN',
        depth=50,
        output_stride=8,
        dropout=(),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    decode_head=dict(
        type='FCRNHead',
        in_channels=2048,
        num_classes=21,
        kernel_size=5,
        dilation=12,
        label_stride=8,  # the loss is computed on the stride-8 grid: 63x63 points of a 504x504 crop
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
