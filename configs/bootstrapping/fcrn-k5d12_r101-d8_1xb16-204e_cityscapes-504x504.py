# Reproduces: Bootstrapping, Table 3 (Cityscapes val): 101 layers, 1/8, kernel 5, dilation 12
# Paper: 71.16 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
