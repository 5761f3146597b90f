# Reproduces: SEMEDA, Table 5 (Cityscapes val): DeepLab v3+, ResNet-101, SEMEDA 4, 2, 0
# Paper: 73.6 mIoU
# Here: not run
# The paper does not say which lambdas it took: these are the best of Table 1.
_base_ = './deeplabv3plus_r101-d16_1xb2-40k_cityscapes-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=19, layer_weights=(4, 2, 0))
    ]))
