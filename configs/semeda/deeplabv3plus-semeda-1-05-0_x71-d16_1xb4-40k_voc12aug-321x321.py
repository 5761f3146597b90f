# Table 1: 77.9 mIoU in the paper.
_base_ = './deeplabv3plus_x71-d16_1xb4-40k_voc12aug-321x321.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=21, layer_weights=(1, 0.5, 0))
    ]))
