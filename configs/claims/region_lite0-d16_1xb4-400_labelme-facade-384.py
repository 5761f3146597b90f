# Ours: regions and their boxes, unbalanced
# Paper: not given
# Here: 46.2 +- 0.1 mIoU on val; 3 runs of 400 iterations
_base_ = [
    '../_base_/models/region_efficientnet-lite0-d16.py', '../_base_/datasets/labelme_facade_384.py',
    '../_base_/schedules/schedule_adamw_400.py', '../_base_/runtime/channels_last.py'
]
model = dict(decode_head=dict(num_classes=8))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
default_hooks = dict(visualization=dict(type='RegionVisualizationHook'))
