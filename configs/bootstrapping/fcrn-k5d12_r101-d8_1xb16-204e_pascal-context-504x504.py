# Ours: the network of Table 7's PASCAL VOC 2012 rows on PASCAL-Context, all points kept
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/fcrn_r50-d8.py', '../_base_/datasets/pascal_context_504x504.py',
    '../_base_/schedules/schedule_fcrn_204e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(504, 504)),
    backbone=dict(depth=101, init_cfg=dict(checkpoint='torchvision://resnet101')),
    decode_head=dict(num_classes=60))
log_processor = dict(by_epoch=True)
