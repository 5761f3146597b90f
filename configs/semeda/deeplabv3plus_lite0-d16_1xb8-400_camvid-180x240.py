# Small version of: semeda/deeplabv3plus_x71-d16_1xb2-40k_cityscapes-321x321.py
# Paper: not given
# Here: not run
# On CamVid: EfficientNet-lite0 from ImageNet weights. Cross entropy alone.
_base_ = [
    '../_base_/models/deeplabv3plus_efficientnet-lite0-d16.py',
    '../_base_/datasets/camvid_180x240.py', '../_base_/schedules/schedule_adamw_400.py',
    '../_base_/runtime/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(180, 240)), decode_head=dict(num_classes=11))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='F1Metric'),
    dict(type='EMeasureMetric'),
    dict(type='TrimapMetric', widths=tuple(range(11)))
]
test_evaluator = val_evaluator
randomness = dict(seed=0)
