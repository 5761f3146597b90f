# Small version of: instances/localization-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 59.6 mAPr 50, 43.7 mAPr 70, 57.2 mAPr vol on val; true semantics; 1 run of 800 iterations
_base_ = './localization_lite0_1xb8-800_voc-instances-256x256.py'
sampler = dict(type='IoUBootstrapSampler', thresh=0.7, min_kept=512)
model = dict(localization=dict(decode_head=dict(sampler=sampler)))
