# Ours: the hardest 20 % of the pixels of a batch, at full resolution
# Paper: not given
# Here: not run
_base_ = './fpn_lite0_1xb4-400_camvid-360x480.py'
loss = dict(_delete_=True, type='BootstrappedCrossEntropyLoss', min_kept=138240)
model = dict(decode_head=dict(loss_decode=loss))
