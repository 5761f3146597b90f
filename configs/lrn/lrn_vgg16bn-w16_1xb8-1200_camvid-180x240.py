# Small version of: lrn/lrn_vgg16bn_1xb10-80k_camvid-360x480.py
# Paper: not given
# Here: 54.8 mIoU, 78.1 class accuracy on val; one run, on one thread beside other work
# A quarter of VGG's width, half of CamVid's resolution, random weights.
_base_ = './lrn_vgg16bn_1xb10-80k_camvid-360x480.py'
model = dict(
    backbone=dict(base_channels=16, init_cfg=None),
    decode_head=dict(in_channels=[16, 32, 64, 128, 128, 128]))
resize = [dict(type='Resize', scale=(240, 180), keep_ratio=False)]
distort = [dict(type='PhotoMetricDistortion')]
train_pipeline = _base_.load + _base_.labels + resize + _base_.flip + distort + _base_.pack
test_pipeline = _base_.load + resize + _base_.labels + _base_.pack
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(split='val', pipeline=test_pipeline))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=1e-2))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=1200, by_epoch=False)]
train_cfg = dict(max_iters=1200, val_interval=200)
default_hooks = dict(checkpoint=dict(interval=600))
randomness = dict(seed=0)
