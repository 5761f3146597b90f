# Small version of: regions/region_vgg16_1xb10-30e_siftflow-600.py
# Paper: not given
# Here: run; under four minutes, no numbers are kept
# On drawn street scenes: no files are needed. The map of conv4 has stride 8, which suits small
# images.
_base_ = [
    '../_base_/models/region_vgg16.py', '../_base_/datasets/regions_scenes.py',
    '../_base_/schedules/schedule_adamw_800.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    backbone=dict(
        depth=11, base_channels=16, norm_cfg=dict(type='BN'), out_indices=(3, ), init_cfg=None),
    decode_head=dict(
        in_channels=128,
        channels=128,
        num_classes=12,
        stride=8,
        dropout_ratio=0.1,
        roi_layer=dict(output_size=3),
        init_cfg=[dict(type='Kaiming', layer='Linear', mode='fan_in')]))
# Adam moves each of the many inputs of a region's first layer by lr: less, for the sum of all.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'decode_head.classifier': dict(lr_mult=0.1)}))
train_dataloader = dict(batch_size=4)
default_hooks = dict(visualization=dict(type='RegionVisualizationHook', interval=10))
randomness = dict(seed=0)
