# HELEN as in the SEMEDA paper: 2,000 training images, 330 for the test (Sec. 4.1). Random scale,
# mirror and six crops of 321x321 per step come from Sec. 3.4, which is about the other data sets.
# Ours: the scale is 0.5 to 2 times a longest side of 512, at which the images are tested. There is
# no flip at test: it would not swap left and right.
crop_size = (321, 321)
data_root = '{{$MMSEG_EXT_DATA:data}}/helen'
load = [dict(type='LoadImageFromFile')]
labels = [dict(type='LoadAnnotations')]
train_resize = [
    dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 2.0), keep_ratio=True)
]
crop = [dict(type='RandomCrop', crop_size=crop_size)]
# A mirror makes the left brow and the left eye the right ones.
flip = [dict(type='RandomFlip', prob=0.5, swap_seg_labels=[(2, 3), (4, 5)])]
pack = [dict(type='PackSegInputs')]
train_pipeline = load + labels + train_resize + crop + flip + pack
test_resize = [dict(type='Resize', scale=(512, 512), keep_ratio=True)]
test_pipeline = load + test_resize + labels + pack  # the ground truth keeps its size
train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='HELENDataset', data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='HELENDataset', data_root=data_root, split='test', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(
        type='F1Metric',  # the columns of Table 6, and the nose
        groups=dict(
            brows=(2, 3), eyes=(4, 5), nose=(6, ), mouth=(7, 8, 9),
            overall=(2, 3, 4, 5, 6, 7, 8, 9))),
    dict(type='EMeasureMetric'),
    dict(type='TrimapMetric', widths=tuple(range(1, 11)))
]
test_evaluator = val_evaluator
