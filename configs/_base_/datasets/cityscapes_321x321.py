# Cityscapes as in the SEMEDA paper (Sec. 3.4, 4.1): random scale and mirror, 321x321 crops, tested
# on whole images. The range of scales is ours.
_base_ = './cityscapes_504x504.py'
crop_size = (321, 321)
train_pipeline = _base_.train_pipeline
train_pipeline[2].ratio_range = (0.5, 2.0)
train_pipeline[3].crop_size = crop_size
train_dataloader = dict(
    batch_size=2,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='F1Metric'),
    dict(type='EMeasureMetric'),
    dict(type='TrimapMetric', widths=tuple(range(1, 11)))
]
test_evaluator = val_evaluator
