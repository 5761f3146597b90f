# Reproduces: SEMEDA, Table 1 (PASCAL VOC 2012 val): DeepLab v3+, Xception-71, SEMEDA 1, 0.5, 0
# Paper: 77.9 mIoU
# Here: not run
_base_ = './deeplabv3plus_x71-d16_1xb4-40k_voc12aug-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=21, layer_weights=(1, 0.5, 0))
    ]))
