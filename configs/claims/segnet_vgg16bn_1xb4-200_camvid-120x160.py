# Ours: SegNet on the whole VGG-16, which starts from ImageNet
# Paper: not given
# Here: 27.7 +- 0.9 mIoU on val; 3 runs of 200 iterations
_base_ = './lrn_vgg16bn_1xb4-200_camvid-120x160.py'
model = dict(decode_head=dict(type='SegNetHead'))
