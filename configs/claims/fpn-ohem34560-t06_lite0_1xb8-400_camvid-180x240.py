# Ours: mmseg's OHEM sampler with the same numbers
# Paper: not given
# Here: 52.5 mIoU on val; 1 run of 400 iterations
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
sampler = dict(type='OHEMPixelSampler', thresh=0.6, min_kept=4320)  # of each image
model = dict(decode_head=dict(sampler=sampler))
