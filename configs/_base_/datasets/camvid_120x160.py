# CPU-sized: a third of CamVid's resolution, for VGG at its full width; judged at 360x480 on val.
_base_ = './camvid_180x240.py'
resize = [dict(type='Resize', scale=(160, 120), keep_ratio=False)]
train_pipeline = _base_.load + _base_.labels + resize + _base_.flip + _base_.distort + _base_.pack
test_pipeline = _base_.load + resize + _base_.labels + _base_.pack
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
