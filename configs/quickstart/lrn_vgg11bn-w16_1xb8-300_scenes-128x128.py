_base_ = [
    '../_base_/models/lrn_vgg16bn.py', '../_base_/datasets/scenes.py',
    '../_base_/schedules/schedule_lrn_80k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    backbone=dict(depth=11, base_channels=16, init_cfg=None),
    decode_head=dict(in_channels=[16, 32, 64, 128, 128, 128], num_classes=12))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=1e-2))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=300, by_epoch=False)]
train_cfg = dict(max_iters=300, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=300), visualization=dict(interval=10))
