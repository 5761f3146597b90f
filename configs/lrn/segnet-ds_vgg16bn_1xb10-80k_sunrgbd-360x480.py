# Reproduces: LRN, Table 3 (SUN RGB-D test): SegNet+DS
# Paper: 49.2 class accuracy, 31.2 mIoU
# Here: not run
_base_ = './segnet_vgg16bn_1xb10-80k_sunrgbd-360x480.py'
model = dict(decode_head=dict(deep_supervision=True))
