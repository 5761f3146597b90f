# CPU-sized: two FPNs on EfficientNet-lite0. `model` trains the one that localizes, `semantic` is
# the other. The maps of the FPN, strides 4 to 32, are enough of a field of view for kernels of 1.
_base_ = './fpn_efficientnet-lite0.py'
preprocessor = dict(_base_.model.data_preprocessor, size=(256, 256), size_divisor=None)
semantic = dict(
    _base_.model,
    data_preprocessor=preprocessor,
    decode_head=dict(_base_.model.decode_head, num_classes=21))
model = dict(
    _delete_=True,
    type='PixelBoxInstanceSegmentor',
    localization=dict(
        _base_.model,
        data_preprocessor=preprocessor,
        decode_head=dict(
            type='LocalizationHead',
            in_channels=[64] * 4,
            in_index=[0, 1, 2, 3],
            input_transform='resize_concat',
            num_classes=21,
            classifier='multi-layer',
            hidden_channels=128,
            kernel_size=1,
            dilation=1,
            label_stride=4,  # 64x64 points of a crop
            loss_decode=dict(type='LocalizationLoss', size_weight=False))))
