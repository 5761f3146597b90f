# Reproduces: Regions, Table 1 (SIFT Flow test): region + box, separate weights, unbalanced
# Paper: 84.3 global accuracy
# Here: not run
_base_ = [
    '../_base_/models/region_vgg16.py', '../_base_/datasets/siftflow_600.py',
    '../_base_/schedules/schedule_regions_30e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=33))
log_processor = dict(by_epoch=True)
