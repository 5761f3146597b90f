# With the lambdas that are best on VOC.
_base_ = './deeplabv3plus_r18-w32-d16_1xb4-800_fasseg-256x256.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SEMEDALoss', num_classes=6, layer_weights=(2, 4, 0))
    ]))
