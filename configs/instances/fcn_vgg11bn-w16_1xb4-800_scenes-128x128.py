# Small version of: instances/fcrn-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 40.1 mIoU on val; 1 run of 800 iterations
# On drawn street scenes: no files are needed. Plain cross entropy.
_base_ = [
    '../_base_/models/localization_vgg11bn-w16.py', '../_base_/datasets/instances_scenes.py',
    '../_base_/schedules/schedule_adamw_800.py', '../_base_/runtime/default_runtime.py'
]
model = dict(_delete_=True, **_base_.semantic)
train_dataloader = dict(batch_size=4)
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'])]
test_evaluator = val_evaluator
randomness = dict(seed=0)
