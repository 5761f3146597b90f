# Ours: label refinement in place of FPN, cross entropy for 400 iterations more
# Paper: not given
# Here: not run
_base_ = './lrn_lite0_1xb8-400_camvid-180x240.py'
load_from = 'work_dirs/lrn_lite0_1xb8-400_camvid-180x240/seed{seed}/iter_400.pth'
