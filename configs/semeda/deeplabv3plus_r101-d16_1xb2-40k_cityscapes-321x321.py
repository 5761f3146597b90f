# Table 5: cross entropy alone, 72.4 mIoU in the paper.
_base_ = [
    '../_base_/models/deeplabv3plus_r101-d16.py', '../_base_/datasets/cityscapes_321x321.py',
    '../_base_/schedules/schedule_semeda_40k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=19))
