_base_ = './fcrn-k5d12_r50-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(decode_head=dict(kernel_size=7, dilation=6))
