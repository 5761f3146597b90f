# Small version of: instances/localization-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 60.6 +- 0.9 mAPr 50, 46.3 +- 2.6 mAPr 70, 58.7 +- 1.5 mAPr vol on val; true labels; 2 runs
_base_ = './localization_lite0_1xb8-800_voc-instances-256x256.py'
sampler = dict(type='IoUBootstrapSampler', thresh=0.7, min_kept=512)
model = dict(localization=dict(decode_head=dict(sampler=sampler)))
