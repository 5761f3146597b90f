# Ours: regions and their boxes, balanced, with a fifth of the paper's dropout
# Paper: not given
# Here: 46.4 mIoU on val; 1 run of 400 iterations
_base_ = './region-balanced_lite0-d16_1xb4-400_labelme-facade-384.py'
model = dict(decode_head=dict(dropout_ratio=0.1))
