# CPU-sized: the longest side of an image is 384.
_base_ = './labelme_facade_600.py'
regions = dict(
    _base_.regions, regions_dir='data/regions/labelme_facade_384', scale=200, min_size=200)
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
resize = [dict(type='Resize', scale=(384, 384), keep_ratio=True)]
distort = [dict(type='PhotoMetricDistortion')]
train_pipeline = (
    _base_.load + _base_.labels + train_regions + resize + _base_.flip + distort
    + _base_.train_pack)
test_pipeline = _base_.load + test_regions + resize + _base_.labels + _base_.test_pack
views = [
    dict(type='TestTimeAug', transforms=[resize, _base_.flips, _base_.labels, _base_.test_pack])
]
tta_pipeline = _base_.load + test_regions + views
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=2, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
