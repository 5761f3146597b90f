# Reproduces: SEMEDA, Tables 1 and 5 (Cityscapes val): DeepLab v3+, Xception-71, SEMEDA 4, 2, 0
# Paper: 77.3 mIoU
# Here: not run
_base_ = './deeplabv3plus_x71-d16_1xb2-40k_cityscapes-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=19, layer_weights=(4, 2, 0))
    ]))
