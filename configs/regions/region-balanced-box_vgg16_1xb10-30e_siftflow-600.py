# Reproduces: Regions, Table 4 (SIFT Flow test): bounding box alone, balanced
# Paper: 62.3 class accuracy
# Here: not run
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='box'))
