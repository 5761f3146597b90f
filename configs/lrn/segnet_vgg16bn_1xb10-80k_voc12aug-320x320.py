_base_ = './lrn_vgg16bn_1xb10-80k_voc12aug-320x320.py'
model = dict(decode_head=dict(type='SegNetHead'))
