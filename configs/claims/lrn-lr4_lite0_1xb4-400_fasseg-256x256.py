# Ours: faces, label refinement, four times the learning rate
# Paper: not given
# Here: 82.9 +- 0.6 mIoU on val; 3 runs of 400 iterations
_base_ = [
    '../_base_/models/lrn_efficientnet-lite0.py', '../_base_/datasets/fasseg_256x256.py',
    '../_base_/schedules/schedule_adamw_400.py', '../_base_/runtime/channels_last.py'
]
model = dict(decode_head=dict(num_classes=6))
optim_wrapper = dict(
    optimizer=dict(lr=8e-3), paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
