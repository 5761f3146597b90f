# Ours: mmseg's FCN head at stride 16 in place of FPN, cross entropy for 400 iterations
# Paper: not given
# Here: not run
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
model = dict(
    backbone=dict(output_stride=16, out_indices=(6, )),
    neck=None,
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=320,
        in_index=0,
        channels=64,
        num_convs=2,
        concat_input=False,
        num_classes=11,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)))
