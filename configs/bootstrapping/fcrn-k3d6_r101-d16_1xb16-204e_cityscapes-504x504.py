# Reproduces: Bootstrapping, Table 3 (Cityscapes val): 101 layers, 1/16, kernel 3, dilation 6
# Paper: 67.62 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r101-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(
    backbone=dict(output_stride=16),
    decode_head=dict(kernel_size=3, dilation=6, label_stride=16))
