# CPU-sized: four crops of 256x256.
_base_ = './fasseg_321x321.py'
crop_size = (256, 256)
train_pipeline = _base_.train_pipeline
train_pipeline[3].crop_size = crop_size
train_pipeline.insert(5, dict(type='PhotoMetricDistortion'))
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
