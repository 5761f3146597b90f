# Small version of: instances/localization-k5d12_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 59.9 +- 0.2 mAPr 50, 43.9 +- 2.8 mAPr 70, 57.0 +- 1.2 mAPr vol on val; true labels; 2 runs
_base_ = [
    '../_base_/models/localization_efficientnet-lite0.py',
    '../_base_/datasets/voc_instances_256x256.py', '../_base_/schedules/schedule_adamw_800.py',
    '../_base_/runtime/channels_last.py'
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
default_hooks = dict(visualization=dict(type='InstanceVisualizationHook'))
