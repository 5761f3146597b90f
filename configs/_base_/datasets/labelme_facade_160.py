# CPU-sized, for VGG at its full width: the longest side of an image is 160; without regions.
_base_ = './labelme_facade_384.py'
resize = [dict(type='Resize', scale=(160, 160), keep_ratio=True)]
pack = [dict(type='PackSegInputs')]
train_pipeline = _base_.load + _base_.labels + resize + _base_.flip + _base_.distort + pack
test_pipeline = _base_.load + resize + _base_.labels + pack
views = [dict(type='TestTimeAug', transforms=[resize, _base_.flips, _base_.labels, pack])]
tta_pipeline = _base_.load + views
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
