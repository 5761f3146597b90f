# Ours: the localization network of Table 6's row "50-layer, Bs., weighted loss", validated with
#   true semantics
# Paper: not given
# Here: not run
_base_ = './localization-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504.py'
model = dict(localization=dict(decode_head=dict(loss_decode=dict(size_weight=True))))
