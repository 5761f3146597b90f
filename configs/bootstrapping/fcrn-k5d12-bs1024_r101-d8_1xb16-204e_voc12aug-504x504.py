# Reproduces: Bootstrapping, Table 7 (PASCAL VOC 2012 val): 101 layers, 1024 points kept
# Paper: 74.17 mIoU
# Here: not run
# 1,024 points of each image.
_base_ = './fcrn-k5d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504.py'
model = dict(decode_head=dict(loss_decode=dict(min_kept=1024)))
