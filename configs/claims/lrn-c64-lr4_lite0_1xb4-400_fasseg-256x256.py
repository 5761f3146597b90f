# Ours: faces, label refinement with 64 channels beside each label map
# Paper: not given
# Here: 85.0 +- 0.3 mIoU on val; 3 runs of 400 iterations
_base_ = './lrn-lr4_lite0_1xb4-400_fasseg-256x256.py'
model = dict(decode_head=dict(channels=64))
