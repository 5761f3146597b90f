# Reproduces: LRN, Tables 2 and 4 (CamVid test): LRN
# Paper: 77.2 class accuracy, 61.7 mIoU
# Here: not run
_base_ = [
    '../_base_/models/lrn_vgg16bn.py', '../_base_/datasets/camvid.py',
    '../_base_/class_weights/camvid.json', '../_base_/schedules/schedule_lrn_80k.py',
    '../_base_/runtime/default_runtime.py'
]
model = dict(
    decode_head=dict(
        num_classes=11,
        loss_decode=dict(class_weight={{_base_.camvid_class_weights.median_frequency}})))
