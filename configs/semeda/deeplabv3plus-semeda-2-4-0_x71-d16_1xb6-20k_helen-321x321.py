# Reproduces: SEMEDA, Table 6 (HELEN test): DeepLab v3+, Xception-71, SEMEDA 2, 4, 0
# Paper: 87.36 F1 over all parts
# Here: not run
# The lambdas are the best of PASCAL VOC 2012 in Table 1.
_base_ = './deeplabv3plus_x71-d16_1xb6-20k_helen-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=11, layer_weights=(2, 4, 0))
    ]))
