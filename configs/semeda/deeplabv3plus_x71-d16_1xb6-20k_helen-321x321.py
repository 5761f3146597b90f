# Reproduces: SEMEDA, Table 6 (HELEN test): DeepLab v3+, Xception-71, cross entropy alone
# Paper: 85.84 F1 over all parts
# Here: not run
_base_ = [
    '../_base_/models/deeplabv3plus_x71-d16.py', '../_base_/datasets/helen_321x321.py',
    '../_base_/schedules/schedule_semeda_20k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=11))
