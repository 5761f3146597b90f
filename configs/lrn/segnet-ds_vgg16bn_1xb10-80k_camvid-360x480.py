# Reproduces: LRN, Table 2 (CamVid test): SegNet+DS
# Paper: 70.1 class accuracy, 53.7 mIoU
# Here: not run
_base_ = './segnet_vgg16bn_1xb10-80k_camvid-360x480.py'
model = dict(decode_head=dict(deep_supervision=True))
