# Reproduces: LRN, Table 1 (PASCAL VOC 2012 test): SegNet+DS
# Paper: 61.1 mIoU
# Here: not run
_base_ = './segnet_vgg16bn_1xb10-80k_voc12trainval-320x320.py'
model = dict(decode_head=dict(deep_supervision=True))
