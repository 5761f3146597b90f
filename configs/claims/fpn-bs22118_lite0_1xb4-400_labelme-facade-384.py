# Ours: the hardest 20 % of the pixels of an image, in FPN
# Paper: not given
# Here: 52.3 +- 0.5 mIoU on val; 3 runs of 400 iterations
_base_ = './fpn_lite0_1xb4-400_labelme-facade-384.py'
loss = dict(
    _delete_=True, type='BootstrappedCrossEntropyLoss', min_kept=22118, per_image=True)
model = dict(decode_head=dict(loss_decode=loss))
