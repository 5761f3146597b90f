# LRN paper, Sec. 4 and 5.1: an encoder as SegNet's, which starts from VGG-16. VGG-16 has no norm
# layers: the encoder's are new, between convolutions from ImageNet.
norm_cfg = dict(type='BN')
model = dict(
    type='StagewiseEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=1,
        pad_val=0,
        seg_pad_val=255),
    backbone=dict(
        type='VGG',
        depth=16,
        norm_cfg=norm_cfg,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://vgg16')),
    decode_head=dict(
        type='LRNHead',
        in_channels=[64, 128, 256, 512, 512, 512],
        num_classes=21,
        norm_cfg=norm_cfg,
        # The paper's networks were trained in Caffe, which divides by the valid pixels.
        loss_decode=dict(type='ClassWeightedCrossEntropyLoss', normalization='valid')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
