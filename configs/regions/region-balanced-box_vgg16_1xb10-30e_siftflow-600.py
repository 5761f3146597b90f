# Table 4, bounding box alone, 62.3 % class accuracy.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='box'))
