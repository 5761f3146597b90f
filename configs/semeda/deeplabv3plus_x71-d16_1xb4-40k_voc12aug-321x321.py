# Tables 1 and 5: cross entropy alone, 77.1 mIoU in the paper.
_base_ = [
    '../_base_/models/deeplabv3plus_x71-d16.py', '../_base_/datasets/voc12_aug_321x321.py',
    '../_base_/schedules/schedule_semeda_40k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=21))
