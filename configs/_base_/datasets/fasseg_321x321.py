# FASSEG, 20 training images, as the SEMEDA paper trains on HELEN: random scale, mirror, 321x321
# crops, six per step. The scale is 0.5 to 2 times a longest side of 384, at which the images are
# tested.
crop_size = (321, 321)
data_root = '{{$MMSEG_EXT_DATA:data}}/fasseg'
load = [dict(type='LoadImageFromFile')]
labels = [dict(type='LoadAnnotations')]
train_resize = [
    dict(type='RandomResize', scale=(384, 384), ratio_range=(0.5, 2.0), keep_ratio=True)
]
crop = [dict(type='RandomCrop', crop_size=crop_size)]
flip = [dict(type='RandomFlip', prob=0.5)]
pack = [dict(type='PackSegInputs')]
train_pipeline = load + labels + train_resize + crop + flip + pack
test_resize = [dict(type='Resize', scale=(384, 384), keep_ratio=True)]
test_pipeline = load + test_resize + labels + pack  # the ground truth keeps its size
train_dataloader = dict(
    batch_size=6,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='FASSEGDataset', data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FASSEGDataset', data_root=data_root, split='val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='F1Metric', groups=dict(overall=(3, 4, 5))),  # nose, mouth and eyes
    dict(type='EMeasureMetric'),
    dict(type='TrimapMetric', widths=tuple(range(1, 11)))
]
test_evaluator = val_evaluator
