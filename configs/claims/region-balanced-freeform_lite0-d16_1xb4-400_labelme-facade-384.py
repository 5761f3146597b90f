# Ours: regions without boxes, balanced
# Paper: not given
# Here: 45.4 +- 0.2 mIoU on val; 3 runs of 400 iterations
_base_ = './region-balanced_lite0-d16_1xb4-400_labelme-facade-384.py'
model = dict(decode_head=dict(features='region'))
