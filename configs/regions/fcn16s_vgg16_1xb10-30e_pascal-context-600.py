# FCN-16s, without regions. In the paper (Table 3): 48.1 % class accuracy, 34.0 % near boundaries.
_base_ = [
    '../_base_/models/fcn16s_vgg16.py', '../_base_/datasets/pascal_context_600.py',
    '../_base_/schedules/schedule_regions_30e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=60))
pack = dict(type='PackSegInputs')
train_pipeline = [*_base_.train_pipeline[:2], *_base_.train_pipeline[3:-1], pack]
test_pipeline = [_base_.test_pipeline[0], *_base_.test_pipeline[2:-1], pack]
tta_pipeline = [_base_.tta_pipeline[0], _base_.tta_pipeline[2]]
tta_pipeline[1].transforms[-1] = [pack]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
log_processor = dict(by_epoch=True)
