# Small version of: instances/fcrn-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 16.3 mIoU on val; 1 run of 800 iterations
# Plain cross entropy.
_base_ = [
    '../_base_/models/localization_efficientnet-lite0.py',
    '../_base_/datasets/voc_instances_256x256.py', '../_base_/schedules/schedule_adamw_800.py',
    '../_base_/runtime/channels_last.py'
]
model = dict(_delete_=True, **_base_.semantic)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'])]
test_evaluator = val_evaluator
