# Reproduces: Bootstrapping, Tables 1 and 7 (PASCAL VOC 2012 val): 101 layers, 1/8, kernel 5,
#   dilation 12
# Paper: 73.41 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
