# Reproduces: Regions, Table 3 (PASCAL-Context val): FCN-16s
# Paper: 48.1 class accuracy, 34.0 class accuracy near boundaries
# Here: not run
_base_ = [
    '../_base_/models/fcn16s_vgg16.py', '../_base_/datasets/pascal_context_600.py',
    '../_base_/schedules/schedule_regions_30e.py', '../_base_/runtime/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=60))
pack = [dict(type='PackSegInputs')]
train_pipeline = _base_.load + _base_.labels + _base_.resize + _base_.flip + pack
test_pipeline = _base_.load + _base_.resize + _base_.labels + pack
views = [dict(type='TestTimeAug', transforms=[_base_.resize, _base_.flips, _base_.labels, pack])]
tta_pipeline = _base_.load + views
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
log_processor = dict(by_epoch=True)
