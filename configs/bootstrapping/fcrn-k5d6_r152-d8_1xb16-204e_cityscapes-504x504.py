_base_ = './fcrn-k5d12_r152-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(decode_head=dict(dilation=6))
