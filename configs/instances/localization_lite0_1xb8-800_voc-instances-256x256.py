# Small version of: instances/localization-k5d12_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 59.6 mAPr 50, 46.7 mAPr 70, 58.1 mAPr vol on val; true semantics; 1 run of 800 iterations
_base_ = [
    '../_base_/models/localization_efficientnet-lite0.py',
    '../_base_/datasets/voc_instances_256x256.py', '../_base_/schedules/schedule_adamw_800.py',
    '../_base_/runtime/channels_last.py'
]
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
default_hooks = dict(visualization=dict(type='InstanceVisualizationHook'))
