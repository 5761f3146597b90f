_base_ = './schedule_adamw_400.py'
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=200, by_epoch=False)]
train_cfg = dict(max_iters=200, val_interval=200)
default_hooks = dict(checkpoint=dict(interval=200))
