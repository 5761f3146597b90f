# Small version of: semeda/deeplabv3plus-semeda-2-4-0_x71-d16_1xb6-20k_fasseg-321x321.py
# Paper: not given
# Here: not run
# The lambdas are the best of PASCAL VOC 2012 in Table 1.
_base_ = './deeplabv3plus_r18-w32-d16_1xb4-800_fasseg-256x256.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=6, layer_weights=(2, 4, 0))
    ]))
