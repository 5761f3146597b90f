_base_ = './lrn_vgg16bn_1xb10-80k_sunrgbd-360x480.py'
model = dict(decode_head=dict(type='SegNetHead'))
