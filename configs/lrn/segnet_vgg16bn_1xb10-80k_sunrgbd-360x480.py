# Reproduces: LRN, Table 3 (SUN RGB-D test): SegNet
# Paper: not given
# Here: not run
# Table 3 has this row; the copy of the paper that was read has no numbers in it.
_base_ = './lrn_vgg16bn_1xb10-80k_sunrgbd-360x480.py'
model = dict(decode_head=dict(type='SegNetHead'))
