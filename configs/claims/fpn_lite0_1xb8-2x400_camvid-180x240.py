# Ours: cross entropy for 400 iterations more: the baseline of bootstrapping and SEMEDA
# Paper: not given
# Here: 61.4 +- 0.1 mIoU on val; 3 runs of 400 iterations
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
load_from = 'work_dirs/fpn_lite0_1xb8-400_camvid-180x240/seed{seed}/iter_400.pth'
