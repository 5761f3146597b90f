_base_ = './region-balanced_vgg11bn-w16_1xb4-800_labelme-facade-384.py'
model = dict(decode_head=dict(features='box'))
