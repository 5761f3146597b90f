# Ours: mmseg's FCN head at stride 16 in place of FPN, cross entropy for 400 iterations more
# Paper: not given
# Here: not run
_base_ = './fcn_lite0-d16_1xb8-400_camvid-180x240.py'
load_from = 'work_dirs/fcn_lite0-d16_1xb8-400_camvid-180x240/seed{seed}/iter_400.pth'
