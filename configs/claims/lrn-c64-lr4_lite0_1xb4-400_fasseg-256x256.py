# Ours: faces, label refinement with 64 channels beside each label map
# Paper: not given
# Here: not run
_base_ = './lrn-lr4_lite0_1xb4-400_fasseg-256x256.py'
model = dict(decode_head=dict(channels=64))
