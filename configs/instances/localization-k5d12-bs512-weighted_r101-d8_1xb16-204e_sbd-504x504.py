# Reproduces: Bootstrapping, Sec. 3.2 (SBD val): true semantics, the best localization network
# Paper: 73.0 mAPr 50, 60.6 mAPr 70
# Here: not run
_base_ = './localization-k5d12-bs512-weighted_r50-d8_1xb16-204e_sbd-504x504.py'
backbone = dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101'))
semantic = dict(backbone=backbone)
model = dict(localization=dict(backbone=backbone))
