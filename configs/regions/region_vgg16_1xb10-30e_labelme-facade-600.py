# Ours: the setting of SIFT Flow on LabelMeFacade, unbalanced
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/region_vgg16.py', '../_base_/datasets/labelme_facade_600.py',
    '../_base_/schedules/schedule_regions_30e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=8))
log_processor = dict(by_epoch=True)
