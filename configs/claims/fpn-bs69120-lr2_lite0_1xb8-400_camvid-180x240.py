# Ours: the hardest 20 % of the pixels, twice the learning rate
# Paper: not given
# Here: not run
_base_ = './fpn-bs69120_lite0_1xb8-400_camvid-180x240.py'
optim_wrapper = dict(optimizer=dict(lr=4e-3))
