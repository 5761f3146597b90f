# Ours: SegNet with a loss at each stage on the whole VGG-16, on a second data set
# Paper: not given
# Here: 28.3 +- 0.5 mIoU on val; 3 runs of 200 iterations
_base_ = './lrn_vgg16bn_1xb4-200_labelme-facade-160.py'
model = dict(decode_head=dict(type='SegNetHead', deep_supervision=True))
