# Reproduces: Regions, Table 2 (PASCAL-Context val): unbalanced
# Paper: 62.4 global accuracy, 32.5 mIoU
# Here: not run
_base_ = [
    '../_base_/models/region_vgg16.py', '../_base_/datasets/pascal_context_600.py',
    '../_base_/schedules/schedule_regions_30e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=60))
log_processor = dict(by_epoch=True)
