# Ours: the same semantic network by plain cross entropy
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/localization_efficientnet-lite0.py',
    '../_base_/datasets/voc_instances_256x256.py', '../_base_/schedules/schedule_adamw_800.py',
    '../_base_/runtime/channels_last.py'
]
model = dict(_delete_=True, **_base_.semantic)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'])]
test_evaluator = val_evaluator
