# Ours: cross entropy at full resolution, from 800 iterations at half of it
# Paper: not given
# Here: 67.7 +- 0.1 mIoU on val; 3 runs of 400 iterations
_base_ = [
    '../_base_/models/fpn_efficientnet-lite0.py', '../_base_/datasets/camvid_1xb4.py',
    '../_base_/schedules/schedule_adamw_400.py', '../_base_/runtime/channels_last.py'
]
model = dict(decode_head=dict(num_classes=11))
load_from = 'work_dirs/fpn_lite0_1xb8-2x400_camvid-180x240/seed{seed}/iter_400.pth'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='F1Metric'),
    dict(type='EMeasureMetric'),
    dict(type='TrimapMetric', widths=(0, 1, 3, 10))
]
test_evaluator = val_evaluator
