# Two FCRNs: `model` trains the one that localizes, `semantic` is the other.
_base_ = './fcrn_r50-d8.py'
preprocessor = dict(_base_.model.data_preprocessor, size=(504, 504))
loss = dict(type='BootstrappedCrossEntropyLoss', thresh=None, min_kept=512, per_image=True)
semantic = dict(
    _base_.model,
    data_preprocessor=preprocessor,
    decode_head=dict(_base_.model.decode_head, loss_decode=loss))
model = dict(
    _delete_=True,
    type='PixelBoxInstanceSegmentor',
    localization=dict(
        _base_.model,
        data_preprocessor=preprocessor,
        decode_head=dict(
            type='LocalizationHead',
            in_channels=2048,
            num_classes=21,
            kernel_size=5,
            dilation=12,
            label_stride=8,  # 63x63 points of a 504x504 crop, as in the semantic network
            loss_decode=dict(type='LocalizationLoss', size_weight=False))))
