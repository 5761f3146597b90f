# Drawn street scenes with their cars, pedestrians and cyclists.
_base_ = './scenes.py'
flip = [dict(type='RandomFlip', prob=0.5)]
pack = [dict(type='PackInstanceInputs')]
train_pipeline = flip + pack
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=pack))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='RegionAPMetric', protocol='sds'),
    dict(type='RegionAPMetric', protocol='mnc', prefix='mnc')
]
test_evaluator = val_evaluator
