# Cityscapes as in the SEMEDA paper (Sec. 3.4, 4.1): random scale and mirror, 321x321 crops, tested
# on whole images. The range of scales is ours.
_base_ = './cityscapes_504x504.py'
crop_size = (321, 321)
resize = [dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.5, 2.0), keep_ratio=True)]
crop = [dict(type='RandomCrop', crop_size=crop_size)]
train_pipeline = _base_.load + _base_.labels + resize + crop + _base_.flip + _base_.pack
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
