# Reproduces: Bootstrapping, Table 7 (PASCAL VOC 2012 val): 101 layers, 256 points kept
# Paper: 74.41 mIoU
# Here: not run
# 256 points of each image, 4 times the share of the release (64 a crop).
_base_ = './fcrn-k5d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(decode_head=dict(loss_decode=dict(min_kept=256)))
