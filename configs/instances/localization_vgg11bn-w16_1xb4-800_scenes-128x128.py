# Small version of: instances/localization-k5d12-bs512-weighted_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 25.6 mAPr 50, 17.4 mAPr 70, 28.1 mAPr vol on val; true semantics; 1 run of 800 iterations
# On drawn street scenes: no files are needed. Without bootstrapping.
_base_ = [
    '../_base_/models/localization_vgg11bn-w16.py', '../_base_/datasets/instances_scenes.py',
    '../_base_/schedules/schedule_adamw_800.py', '../_base_/runtime/default_runtime.py'
]
train_dataloader = dict(batch_size=4)
default_hooks = dict(visualization=dict(type='InstanceVisualizationHook', interval=10))
randomness = dict(seed=0)
