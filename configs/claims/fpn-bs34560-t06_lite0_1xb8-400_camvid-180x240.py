# Ours: pixels below 0.6, at least the hardest 10 %
# Paper: not given
# Here: not run
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
loss = dict(_delete_=True, type='BootstrappedCrossEntropyLoss', thresh=0.6, min_kept=34560)
model = dict(decode_head=dict(loss_decode=loss))
