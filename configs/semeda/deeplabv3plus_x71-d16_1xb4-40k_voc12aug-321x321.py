# Reproduces: SEMEDA, Tables 1 and 5 (PASCAL VOC 2012 val): DeepLab v3+, Xception-71, cross entropy
#   alone
# Paper: 77.1 mIoU
# Here: not run
_base_ = [
    '../_base_/models/deeplabv3plus_x71-d16.py', '../_base_/datasets/voc12_aug_321x321.py',
    '../_base_/schedules/schedule_semeda_40k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=21))
