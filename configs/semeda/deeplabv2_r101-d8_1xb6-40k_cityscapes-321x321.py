# Reproduces: SEMEDA, Table 4 (Cityscapes val): DeepLab v2, ImageNet, cross entropy alone
# Paper: 64.1 mIoU
# Here: not run
_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py', '../_base_/datasets/cityscapes-half_321x321.py',
    '../_base_/schedules/schedule_semeda_40k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=19))
