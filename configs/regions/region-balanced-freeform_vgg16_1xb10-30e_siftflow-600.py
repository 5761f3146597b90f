# Table 4, region alone, 62.8 % class accuracy.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='region'))
