# Reproduces: Regions, Sec. 4.3 (SIFT Flow test): bounding box alone, trained end to end
# Paper: 83.7 global accuracy
# Here: not run
_base_ = './region_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='box'))
