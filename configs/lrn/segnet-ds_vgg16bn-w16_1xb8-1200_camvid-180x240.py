# Small version of: lrn/segnet-ds_vgg16bn_1xb10-80k_camvid-360x480.py
# Paper: not given
# Here: 48.6 mIoU, 70.1 class accuracy on val; one run
_base_ = './segnet_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
model = dict(decode_head=dict(deep_supervision=True))
