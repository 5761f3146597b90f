# Reproduces: Bootstrapping, Table 5 (PASCAL-Context val): the row "ours"
# Paper: 44.5 mIoU
# Here: not run
# The paper takes the model of PASCAL VOC 2012 (Sec. 3.1), here the one of its best result: dropout
# and the multi-layer classifier, with --tta at test.
_base_ = './fcrn-k5d12-bs512_r101-d8_1xb16-204e_pascal-context-504x504.py'
model = dict(
    backbone=dict(dropout=(0.3, 0.5)),
    decode_head=dict(classifier='multi-layer', kernel_size=3, hidden_channels=512))
