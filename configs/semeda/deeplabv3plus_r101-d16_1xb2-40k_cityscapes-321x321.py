# Reproduces: SEMEDA, Table 5 (Cityscapes val): DeepLab v3+, ResNet-101, cross entropy alone
# Paper: 72.4 mIoU
# Here: not run
_base_ = [
    '../_base_/models/deeplabv3plus_r101-d16.py', '../_base_/datasets/cityscapes_321x321.py',
    '../_base_/schedules/schedule_semeda_40k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=19))
