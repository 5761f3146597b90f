# Region and box with separate weights, unbalanced loss: 84.3 % global accuracy in the paper.
_base_ = [
    '../_base_/models/region_vgg16.py', '../_base_/datasets/siftflow_600.py',
    '../_base_/schedules/schedule_regions_30e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=33))
log_processor = dict(by_epoch=True)
