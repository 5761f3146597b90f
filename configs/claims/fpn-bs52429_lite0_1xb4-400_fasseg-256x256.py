# Ours: faces, the hardest 20 % of the pixels of a batch from the start
# Paper: not given
# Here: 79.3 +- 0.2 mIoU on val; 3 runs of 400 iterations
# The setting is that of CamVid, here on images that had no part in its choice.
_base_ = './fpn_lite0_1xb4-400_fasseg-256x256.py'
loss = dict(_delete_=True, type='BootstrappedCrossEntropyLoss', min_kept=52429)
model = dict(decode_head=dict(loss_decode=loss))
