# Reproduces: Bootstrapping, Table 3 (Cityscapes val): 101 layers, 1/8, kernel 7, dilation 6
# Paper: 70.40 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r101-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(decode_head=dict(kernel_size=7, dilation=6))
