# Table 6: cross entropy alone, F1 85.84 over all parts in the paper.
_base_ = [
    '../_base_/models/deeplabv3plus_x71-d16.py', '../_base_/datasets/helen_321x321.py',
    '../_base_/schedules/schedule_semeda_20k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=11))
