# DeepLab v3+ as the SEMEDA paper trains it: ResNet-101, frozen batch norm, no auxiliary head. The
# norm layers of the head have no pretrained statistics to be frozen: they learn.
_base_ = 'mmseg::_base_/models/deeplabv3plus_r50-d8.py'
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(321, 321)),
    pretrained='open-mmlab://resnet101_v1c',
    backbone=dict(
        depth=101,
        dilations=(1, 1, 1, 2),
        strides=(1, 2, 2, 1),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True),
    decode_head=dict(
        dilations=(1, 6, 12, 18), norm_cfg=norm_cfg, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=None)
