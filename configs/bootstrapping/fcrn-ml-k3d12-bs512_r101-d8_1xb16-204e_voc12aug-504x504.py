# Ours: the paper's best network (Table 2, PASCAL VOC 2012 test), judged on val
# Paper: not given
# Here: not run
# What the paper adds for its best results (Sec. 1): dropout and the multi-layer classifier, with
# --tta at test. Rates and channels are those of "Wider or Deeper".
_base_ = './fcrn-k5d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(
    backbone=dict(dropout=(0.3, 0.5)),
    decode_head=dict(classifier='multi-layer', kernel_size=3, hidden_channels=512))
