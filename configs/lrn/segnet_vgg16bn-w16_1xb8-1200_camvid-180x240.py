_base_ = './lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
model = dict(decode_head=dict(type='SegNetHead'))
