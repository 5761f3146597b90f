# Table 1: 76.1 mIoU in the paper.
_base_ = './deeplabv3plus_x71-d16_1xb2-40k_cityscapes-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SobelEdgeLoss', loss_weight=1.0)
    ]))
