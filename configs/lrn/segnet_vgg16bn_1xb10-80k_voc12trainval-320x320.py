# Reproduces: LRN, Table 1 (PASCAL VOC 2012 test): SegNet
# Paper: 59.1 mIoU
# Here: not run
_base_ = './lrn_vgg16bn_1xb10-80k_voc12trainval-320x320.py'
model = dict(decode_head=dict(type='SegNetHead'))
