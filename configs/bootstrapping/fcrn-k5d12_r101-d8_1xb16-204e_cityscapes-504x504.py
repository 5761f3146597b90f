_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
