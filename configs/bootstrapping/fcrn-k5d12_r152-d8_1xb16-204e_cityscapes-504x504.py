# Reproduces: Bootstrapping, Tables 3 and 7 (Cityscapes val): 152 layers, 1/8, kernel 5, dilation 12
# Paper: 71.51 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(backbone=dict(depth=152, init_cfg=dict(checkpoint='torchvision://resnet152')))
