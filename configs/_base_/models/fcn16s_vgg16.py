# FCN-16s on VGG-16: pool5 and its fully connected layers, and pool4. All start from ImageNet.
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=16,
    test_cfg=dict(size_divisor=16))  # a position is as many pixels as in training
model = dict(
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='VGG',
        depth=16,
        out_indices=(3, 5),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')),
    decode_head=dict(
        type='FCN16sHead',
        in_channels=(512, 512),
        channels=4096,
        num_classes=33,
        loss_decode=dict(type='ClassWeightedCrossEntropyLoss', per_image=True),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
