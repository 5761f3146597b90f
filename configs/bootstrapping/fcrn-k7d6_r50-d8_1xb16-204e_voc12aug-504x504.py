# Reproduces: Bootstrapping, Table 1 (PASCAL VOC 2012 val): 50 layers, 1/8, kernel 7, dilation 6
# Paper: 70.67 mIoU
# Here: not run
_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(decode_head=dict(kernel_size=7, dilation=6))
