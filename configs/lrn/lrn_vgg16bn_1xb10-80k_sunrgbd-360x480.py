# Reproduces: LRN, Tables 3 and 4 (SUN RGB-D test): LRN
# Paper: 46.8 class accuracy, 33.1 mIoU
# Here: not run
_base_ = [
    '../_base_/models/lrn_vgg16bn.py', '../_base_/datasets/sunrgbd.py',
    '../_base_/class_weights/sunrgbd_segnet_published.json',
    '../_base_/schedules/schedule_lrn_80k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    decode_head=dict(
        num_classes=37,
        loss_decode=dict(
            class_weight={{_base_.sunrgbd_segnet_published_class_weights.median_frequency}})))
