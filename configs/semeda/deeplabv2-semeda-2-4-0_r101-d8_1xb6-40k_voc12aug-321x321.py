# Reproduces: SEMEDA, Table 4 (PASCAL VOC 2012 val): DeepLab v2, ImageNet, SEMEDA 2, 4, 0
# Paper: 74.2 mIoU
# Here: not run
# The paper does not say which lambdas it took: these are the best of Table 1.
_base_ = './deeplabv2_r101-d8_1xb6-40k_voc12aug-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=21, layer_weights=(2, 4, 0))
    ]))
