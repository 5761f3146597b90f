# Table 4, region + box with tied weights, 63.4 % class accuracy.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='tied'))
