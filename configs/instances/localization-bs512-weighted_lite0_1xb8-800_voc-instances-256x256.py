# Small version of: instances/localization-k5d12-bs512-weighted_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 61.9 +- 2.7 mAPr 50, 43.0 +- 0.4 mAPr 70, 57.5 +- 0.1 mAPr vol on val; true labels; 2 runs
_base_ = './localization-bs512_lite0_1xb8-800_voc-instances-256x256.py'
model = dict(localization=dict(decode_head=dict(loss_decode=dict(size_weight=True))))
