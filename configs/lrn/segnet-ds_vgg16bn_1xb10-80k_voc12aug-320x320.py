# Ours: SegNet+DS on PASCAL VOC 2012 val, beside LRN of Table 4, which has no such row
# Paper: not given
# Here: not run
_base_ = './segnet_vgg16bn_1xb10-80k_voc12aug-320x320.py'
model = dict(decode_head=dict(deep_supervision=True))
