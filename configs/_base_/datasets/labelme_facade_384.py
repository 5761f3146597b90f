# CPU-sized: longest side 384, and images that are no larger.
_base_ = './labelme_facade_600.py'
regions = dict(regions_dir='data/regions/labelme_facade_384', scale=200, min_size=200)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(regions)
train_pipeline[3].scale = (384, 384)
train_pipeline.insert(5, dict(type='PhotoMetricDistortion'))
test_pipeline[1].update(regions)
test_pipeline[2].scale = (384, 384)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].update(regions)
tta_pipeline[2].transforms[0][0].scale = (384, 384)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=2, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
