# Reproduces: LRN, Table 4 (PASCAL VOC 2012 val): LRN
# Paper: 62.8 mIoU
# Here: not run
_base_ = [
    '../_base_/models/lrn_vgg16bn.py', '../_base_/datasets/voc12_aug_320x320.py',
    '../_base_/schedules/schedule_lrn_80k.py', '../_base_/runtime/default_runtime.py'
]
# Training crops are padded to the crop size, test images to 512x512.
model = dict(
    data_preprocessor=dict(
        size=(320, 320), size_divisor=None, test_cfg=dict(size=(512, 512))))
