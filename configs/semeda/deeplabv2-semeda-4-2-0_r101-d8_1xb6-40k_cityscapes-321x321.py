# Reproduces: SEMEDA, Table 4 (Cityscapes val): DeepLab v2, ImageNet, SEMEDA 4, 2, 0
# Paper: 66.6 mIoU
# Here: not run
# The paper does not say which lambdas it took: these are the best of Table 1.
_base_ = './deeplabv2_r101-d8_1xb6-40k_cityscapes-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=19, layer_weights=(4, 2, 0))
    ]))
