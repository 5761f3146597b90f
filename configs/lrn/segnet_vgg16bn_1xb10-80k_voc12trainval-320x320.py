# Table 1, SegNet on the VOC 2012 test list: 59.1 mIoU in the paper; not run here.
_base_ = './lrn_vgg16bn_1xb10-80k_voc12trainval-320x320.py'
model = dict(decode_head=dict(type='SegNetHead'))
