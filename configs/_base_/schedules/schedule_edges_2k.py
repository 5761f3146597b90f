# For semantic edge networks. Ours: the paper states no schedule for them.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-2))
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-2, total_steps=2000, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=2000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=200, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # The file at the end is for init_cfg. OneCycleLR has a function in its state, which torch.load
    # refuses from version 2.6 on.
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=2000,
        save_optimizer=False,
        save_param_scheduler=False),
    sampler_seed=dict(type='DistSamplerSeedHook'))
