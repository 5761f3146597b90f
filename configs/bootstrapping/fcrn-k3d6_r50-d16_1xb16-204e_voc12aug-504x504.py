# Reproduces: Bootstrapping, Table 1 (PASCAL VOC 2012 val): 50 layers, 1/16, kernel 3, dilation 6
# Paper: 69.09 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(
    backbone=dict(output_stride=16),
    decode_head=dict(kernel_size=3, dilation=6, label_stride=16))
