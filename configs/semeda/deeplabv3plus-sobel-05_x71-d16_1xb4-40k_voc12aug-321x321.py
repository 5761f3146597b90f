# Table 1: 77.3 mIoU in the paper.
_base_ = './deeplabv3plus_x71-d16_1xb4-40k_voc12aug-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SobelEdgeLoss', loss_weight=0.5)
    ]))
