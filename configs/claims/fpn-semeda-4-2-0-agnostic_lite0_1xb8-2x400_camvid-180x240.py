# Ours: SEMEDA that cannot tell classes apart, after 400 iterations of cross entropy
# Paper: not given
# Here: 60.9 +- 0.0 mIoU on val; 3 runs of 400 iterations
_base_ = './fpn-semeda-4-2-0-agnostic_lite0_1xb8-400_camvid-180x240.py'
load_from = 'work_dirs/fpn_lite0_1xb8-400_camvid-180x240/seed{seed}/iter_400.pth'
