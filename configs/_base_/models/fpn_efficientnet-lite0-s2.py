# FPN on EfficientNet-lite0 with a level at stride 2, where a thin object is wider than a position.
_base_ = './fpn_efficientnet-lite0.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 4, 6)),
    neck=dict(in_channels=[16, 24, 40, 112, 320], num_outs=5),
    decode_head=dict(
        in_channels=[64] * 5, in_index=[0, 1, 2, 3, 4], feature_strides=[2, 4, 8, 16, 32]))
