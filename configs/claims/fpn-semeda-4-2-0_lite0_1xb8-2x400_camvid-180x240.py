# Ours: SEMEDA after 400 iterations of cross entropy, with the paper's best lambdas of street scenes
# Paper: not given
# Here: 58.7 +- 0.4 mIoU on val; 3 runs of 400 iterations
_base_ = './fpn-semeda-4-2-0_lite0_1xb8-400_camvid-180x240.py'
load_from = 'work_dirs/fpn_lite0_1xb8-400_camvid-180x240/seed{seed}/iter_400.pth'
