# Ours: the setting of HELEN on FASSEG, cross entropy alone
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/deeplabv3plus_x71-d16.py', '../_base_/datasets/fasseg_321x321.py',
    '../_base_/schedules/schedule_semeda_20k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=6))
