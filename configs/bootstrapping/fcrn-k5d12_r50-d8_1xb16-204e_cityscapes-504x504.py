# Reproduces: Bootstrapping, Table 3 (Cityscapes val): 50 layers, 1/8, kernel 5, dilation 12
# Paper: 68.71 mIoU
# Here: not run
_base_ = [
    '../_base_/models/fcrn_r50-d8.py', '../_base_/datasets/cityscapes_504x504.py',
    '../_base_/schedules/schedule_fcrn_204e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(504, 504)),
    decode_head=dict(num_classes=19))
log_processor = dict(by_epoch=True)
