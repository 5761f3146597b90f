# Ours: the hardest 40 % of the pixels of a batch
# Paper: not given
# Here: 56.5 mIoU on val; 1 run of 400 iterations
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
loss = dict(_delete_=True, type='BootstrappedCrossEntropyLoss', min_kept=138240)
model = dict(decode_head=dict(loss_decode=loss))
