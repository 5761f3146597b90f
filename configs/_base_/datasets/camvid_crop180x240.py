# CPU-sized: crops of 180x240 at about CamVid's own resolution, judged at 360x480 on the val split.
_base_ = './camvid.py'
resize = [
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.5, 1.25), keep_ratio=True)
]
crop = [dict(type='RandomCrop', crop_size=(180, 240), cat_max_ratio=0.75)]
distort = [dict(type='PhotoMetricDistortion')]
train_pipeline = (
    _base_.load + _base_.labels + resize + crop + _base_.flip + distort + _base_.pack)
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(split='val'))
val_evaluator = dict(type='IoUMetric')
test_evaluator = val_evaluator
