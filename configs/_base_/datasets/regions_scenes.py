# Drawn street scenes; their regions are found on the fly.
_base_ = './scenes.py'
regions = dict(type='GenerateRegions', scale=50, min_size=20)
flip = [dict(type='RandomFlip', prob=0.5)]
train_regions = [dict(regions, colour_space='random')]
train_pack = [dict(type='PackRegionInputs', gt_regions=True)]
train_pipeline = train_regions + flip + train_pack
test_pipeline = [regions, dict(type='PackRegionInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='TrimapMetric', widths=(2, 4))
]
test_evaluator = val_evaluator
