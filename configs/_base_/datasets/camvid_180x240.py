# CPU-sized: half of CamVid's resolution, judged at 360x480 on the val split.
_base_ = './camvid.py'
resize = [dict(type='Resize', scale=(240, 180), keep_ratio=False)]
distort = [dict(type='PhotoMetricDistortion')]
train_pipeline = _base_.load + _base_.labels + resize + _base_.flip + distort + _base_.pack
test_pipeline = _base_.load + resize + _base_.labels + _base_.pack
scales = [
    dict(type='Resize', scale=scale, keep_ratio=False)
    for scale in ((168, 126), (240, 180), (312, 234))
]
flips = [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)]
views = [dict(type='TestTimeAug', transforms=[scales, flips, _base_.labels, _base_.pack])]
tta_pipeline = _base_.load + views
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(split='val', pipeline=test_pipeline))
val_evaluator = dict(type='IoUMetric')
test_evaluator = val_evaluator
