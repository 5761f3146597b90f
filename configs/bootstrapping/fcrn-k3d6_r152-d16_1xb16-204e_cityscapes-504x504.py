# Reproduces: Bootstrapping, Table 3 (Cityscapes val): 152 layers, 1/16, kernel 3, dilation 6
# Paper: 68.30 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r152-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(
    backbone=dict(output_stride=16),
    decode_head=dict(kernel_size=3, dilation=6, label_stride=16))
