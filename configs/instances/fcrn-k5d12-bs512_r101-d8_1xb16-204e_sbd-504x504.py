# Ours: the semantic network of the row of Table 6 with 101 layers, 512 points kept
# Paper: not given
# Here: not run
_base_ = './fcrn-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py'
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')))
