# Ours: the same pixels chosen by the sampler, in mmseg's loss
# Paper: not given
# Here: 58.2 mIoU on val; 1 run of 400 iterations
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
sampler = dict(type='BootstrapPixelSampler', thresh=0.6, min_kept=34560)
model = dict(decode_head=dict(sampler=sampler))
