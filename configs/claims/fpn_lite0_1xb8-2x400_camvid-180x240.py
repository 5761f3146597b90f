# Ours: cross entropy for 400 iterations more: the baseline of bootstrapping and SEMEDA
# Paper: not given
# Here: not run
_base_ = './fpn_lite0_1xb8-400_camvid-180x240.py'
load_from = 'work_dirs/fpn_lite0_1xb8-400_camvid-180x240/seed{seed}/iter_400.pth'
