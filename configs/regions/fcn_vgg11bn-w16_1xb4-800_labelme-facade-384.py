# Ours: mmseg's FCN head on the network, data and schedule of the regions, unbalanced
# Paper: not given
# Here: not run; an earlier form gave 52.7 class accuracy on val (commit b5d3754)
# It ignores the regions.
_base_ = './region_vgg11bn-w16_1xb4-800_labelme-facade-384.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=128,
        in_index=0,
        channels=256,
        num_convs=2,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=8,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='ClassWeightedCrossEntropyLoss', per_image=True)))
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
