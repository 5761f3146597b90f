# Small version of: regions/region-balanced-freeform_vgg16_1xb10-30e_siftflow-600.py
# Paper: not given
# Here: not run; an earlier form gave 56.1 class accuracy on val (commit b5d3754)
# On LabelMeFacade.
_base_ = './region-balanced_vgg11bn-w16_1xb4-800_labelme-facade-384.py'
model = dict(decode_head=dict(features='region'))
