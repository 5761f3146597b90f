# Reproduces: Bootstrapping, Table 3 (Cityscapes val): 50 layers, 1/8, kernel 3, dilation 6
# Paper: 66.58 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(decode_head=dict(kernel_size=3, dilation=6))
