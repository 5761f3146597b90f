# Reproduces: LRN, Table 2 (CamVid test): SegNet
# Paper: 65.9 class accuracy, 50.2 mIoU
# Here: not run
_base_ = './lrn_vgg16bn_1xb10-80k_camvid-360x480.py'
model = dict(decode_head=dict(type='SegNetHead'))
