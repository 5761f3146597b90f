# Reproduces: SEMEDA, Table 1 (PASCAL VOC 2012 val): DeepLab v3+, Xception-71, Sobel 1
# Paper: 77.5 mIoU
# Here: not run
_base_ = './deeplabv3plus_x71-d16_1xb4-40k_voc12aug-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SobelEdgeLoss', loss_weight=1.0)
    ]))
