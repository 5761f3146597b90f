# CPU-sized: four crops of 256x256.
_base_ = './fasseg_321x321.py'
crop_size = (256, 256)
crop = [dict(type='RandomCrop', crop_size=crop_size)]
distort = [dict(type='PhotoMetricDistortion')]
train_pipeline = (
    _base_.load + _base_.labels + _base_.train_resize + crop + _base_.flip + distort + _base_.pack)
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
