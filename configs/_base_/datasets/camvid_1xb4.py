# CPU-sized: four images of 360x480, judged on the val split.
_base_ = './camvid.py'
distort = [dict(type='PhotoMetricDistortion')]
train_pipeline = (
    _base_.load + _base_.labels + _base_.resize + _base_.flip + distort + _base_.pack)
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(split='val'))
val_evaluator = dict(type='IoUMetric')
test_evaluator = val_evaluator
