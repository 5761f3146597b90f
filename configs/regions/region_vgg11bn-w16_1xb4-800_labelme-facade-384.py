# Small version of: regions/region_vgg16_1xb10-30e_labelme-facade-600.py
# Paper: not given
# Here: not run; an earlier form gave 48.6 class accuracy on val (commit b5d3754)
# VGG-11 with a quarter of the width, small fully connected layers, random weights. Batch norm
# behind the hidden layers and one learning rate, as the FCN beside it has.
_base_ = [
    '../_base_/models/region_vgg16.py', '../_base_/datasets/labelme_facade_384.py',
    '../_base_/schedules/schedule_adamw_800.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    backbone=dict(depth=11, base_channels=16, norm_cfg=dict(type='BN'), init_cfg=None),
    decode_head=dict(
        in_channels=128,
        channels=256,
        num_classes=8,
        dropout_ratio=0.1,
        norm_cfg=dict(type='BN'),
        init_cfg=[dict(type='Kaiming', layer='Linear', mode='fan_in')]))
default_hooks = dict(visualization=dict(type='RegionVisualizationHook'))
randomness = dict(seed=0)
