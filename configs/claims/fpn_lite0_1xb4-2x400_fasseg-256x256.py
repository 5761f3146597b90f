# Ours: faces, cross entropy, 400 iterations more
# Paper: not given
# Here: not run
_base_ = './fpn_lite0_1xb4-400_fasseg-256x256.py'
load_from = 'work_dirs/fpn_lite0_1xb4-400_fasseg-256x256/seed{seed}/iter_400.pth'
