# Ours: the semantic network of the rows of Table 6 with 50 layers, 512 points kept
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/localization_r50-d8.py', '../_base_/datasets/sbd_504x504.py',
    '../_base_/schedules/schedule_fcrn_204e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(_delete_=True, **_base_.semantic)
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'])]
test_evaluator = val_evaluator
log_processor = dict(by_epoch=True)
