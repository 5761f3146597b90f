# PASCAL VOC 2012 as in the SEMEDA paper (Sec. 3.4, 4.1): 10,582 training images (with SBD), random
# scale and mirror, 321x321 crops, tested on whole images. The range of scales is ours.
_base_ = './voc12_aug_320x320.py'
crop_size = (321, 321)
resize = [dict(type='RandomResize', scale=(500, 500), ratio_range=(0.5, 2.0), keep_ratio=True)]
crop = [dict(type='RandomCrop', crop_size=crop_size)]
train_pipeline = _base_.load + _base_.labels + resize + crop + _base_.flip + _base_.pack
train_dataloader = dict(
    batch_size=4,
    dataset=dict(datasets=[
        dict(_base_.train_split, pipeline=train_pipeline),
        dict(_base_.aug_split, pipeline=train_pipeline)
    ]))
# a strip without labels lies along most boundaries
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='F1Metric'),
    dict(type='EMeasureMetric'),
    dict(type='TrimapMetric', widths=tuple(range(1, 11)), boundary_to_ignored=True)
]
test_evaluator = val_evaluator
