# The lambdas are the paper's best for street scenes (Cityscapes).
_base_ = './deeplabv3plus_r18-w32-d16_1xb8-800_camvid-180x240.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=11, layer_weights=(4, 2, 0))
    ]))
