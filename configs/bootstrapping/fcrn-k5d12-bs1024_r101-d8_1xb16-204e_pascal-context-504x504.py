# Ours: the network of Table 7's PASCAL VOC 2012 rows on PASCAL-Context, 1024 points kept
# Paper: not given
# Here: not run
_base_ = './fcrn-k5d12-bs512_r101-d8_1xb16-204e_pascal-context-504x504.py'
model = dict(decode_head=dict(loss_decode=dict(min_kept=1024)))
