# Reproduces: Regions, Table 4 (SIFT Flow test): region alone, balanced
# Paper: 62.8 class accuracy
# Here: not run
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='region'))
