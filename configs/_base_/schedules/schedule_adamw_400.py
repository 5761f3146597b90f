# For CPU-sized networks whose backbone starts from ImageNet: it learns at a tenth of the rate.
_base_ = './schedule_adamw_1200.py'
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=400, by_epoch=False)]
train_cfg = dict(max_iters=400, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=400))
