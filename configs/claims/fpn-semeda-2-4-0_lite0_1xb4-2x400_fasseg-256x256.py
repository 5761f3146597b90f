# Ours: faces, SEMEDA after 400 iterations of cross entropy
# Paper: not given
# Here: 79.4 +- 0.2 mIoU on val; 5 runs of 400 iterations
_base_ = './fpn-semeda-2-4-0_lite0_1xb4-400_fasseg-256x256.py'
load_from = 'work_dirs/fpn_lite0_1xb4-400_fasseg-256x256/seed{seed}/iter_400.pth'
