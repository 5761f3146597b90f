# Sec. 4.3: softmax before the maximum, 55.3 % class accuracy.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(softmax_first=True))
