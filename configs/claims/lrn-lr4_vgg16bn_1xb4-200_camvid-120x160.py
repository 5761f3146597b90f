# Ours: label refinement on VGG-16, four times the learning rate
# Paper: not given
# Here: not run
_base_ = './lrn_vgg16bn_1xb4-200_camvid-120x160.py'
optim_wrapper = dict(optimizer=dict(lr=8e-3))
