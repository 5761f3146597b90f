# Ours: the localization network of Table 6's row "50-layer, Bs.", validated with true semantics
# Paper: not given
# Here: not run
# The threshold is ours; 512 points of an image is the paper's best for the semantic network.
_base_ = './localization-k5d12_r50-d8_1xb16-204e_sbd-504x504.py'
sampler = dict(type='IoUBootstrapSampler', thresh=0.7, min_kept=512)
model = dict(localization=dict(decode_head=dict(sampler=sampler)))
