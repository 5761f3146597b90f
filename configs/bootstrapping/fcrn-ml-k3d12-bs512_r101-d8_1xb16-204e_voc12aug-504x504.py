# What the paper adds for its best results: dropout and the multi-layer classifier; --tta at test.
_base_ = './fcrn-k5d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(
    backbone=dict(dropout=(0.3, 0.5)),
    decode_head=dict(classifier='multi-layer', kernel_size=3, hidden_channels=512))
