# Ours: pixels weighted by the size of their instance, without bootstrapping
# Paper: not given
# Here: not run
_base_ = './localization_lite0_1xb8-800_voc-instances-256x256.py'
model = dict(localization=dict(decode_head=dict(loss_decode=dict(size_weight=True))))
