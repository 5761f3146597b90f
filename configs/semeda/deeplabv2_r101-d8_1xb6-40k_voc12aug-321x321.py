# Reproduces: SEMEDA, Table 4 (PASCAL VOC 2012 val): DeepLab v2, ImageNet, cross entropy alone
# Paper: 72.9 mIoU
# Here: not run
_base_ = [
    '../_base_/models/deeplabv2_r101-d8.py', '../_base_/datasets/voc12_aug_321x321.py',
    '../_base_/schedules/schedule_semeda_40k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=21))
train_dataloader = dict(batch_size=6)
