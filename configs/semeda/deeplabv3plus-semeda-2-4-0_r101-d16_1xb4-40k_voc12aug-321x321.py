# Reproduces: SEMEDA, Table 5 (PASCAL VOC 2012 val): DeepLab v3+, ResNet-101, SEMEDA 2, 4, 0
# Paper: 75.3 mIoU
# Here: not run
# The paper does not say which lambdas it took: these are the best of Table 1.
_base_ = './deeplabv3plus_r101-d16_1xb4-40k_voc12aug-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=21, layer_weights=(2, 4, 0))
    ]))
