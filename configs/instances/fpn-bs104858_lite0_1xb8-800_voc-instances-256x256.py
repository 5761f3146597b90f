# Small version of: instances/fcrn-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: not run
# The hardest 20 % of the pixels of each batch.
_base_ = './fpn_lite0_1xb8-800_voc-instances-256x256.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(_delete_=True, type='BootstrappedCrossEntropyLoss', min_kept=104858)))
