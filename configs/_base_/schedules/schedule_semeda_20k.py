_base_ = './schedule_semeda_40k.py'
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=20000, by_epoch=False)]
train_cfg = dict(max_iters=20000)
