# The baseline with Sobel's kernels; lambda is the paper's best.
_base_ = './deeplabv3plus_r18-w32-d16_1xb8-800_camvid-180x240.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(type='SobelEdgeLoss', loss_weight=4.0)
    ]))
