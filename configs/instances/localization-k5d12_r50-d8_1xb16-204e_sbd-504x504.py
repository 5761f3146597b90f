# Ours: the localization network of Table 6's row "50-layer", validated with true semantics
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/localization_r50-d8.py', '../_base_/datasets/sbd_504x504.py',
    '../_base_/schedules/schedule_fcrn_204e.py', '../_base_/runtime/default_runtime.py'
]
log_processor = dict(by_epoch=True)
default_hooks = dict(visualization=dict(type='InstanceVisualizationHook'))
