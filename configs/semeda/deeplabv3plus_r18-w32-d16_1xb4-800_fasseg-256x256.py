# Small version of: semeda/deeplabv3plus_x71-d16_1xb6-20k_fasseg-321x321.py
# Paper: not given
# Here: not run
# Half of ResNet-18's width, random weights, cross entropy alone.
_base_ = [
    '../_base_/models/deeplabv3plus_r18-w32-d16.py', '../_base_/datasets/fasseg_256x256.py',
    '../_base_/schedules/schedule_adamw_800.py', '../_base_/runtime/default_runtime.py'
]
model = dict(data_preprocessor=dict(size=(256, 256)), decode_head=dict(num_classes=6))
randomness = dict(seed=0)
