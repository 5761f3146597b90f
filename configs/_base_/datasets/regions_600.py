# What the data sets of the region paper have in common. Sec. 4.1: in training, proposals of one of
# three colour spaces (there another for each batch, here for each image) and the ground-truth
# regions. From the released code, as the paper states none of it: longest side 600, flips, ten
# images per step, proposals of RGB at test. They are made by: python tools/generate_regions.py
# CONFIG
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='LoadRegions', regions_dir='data/regions', colour_space='random'),
    dict(type='Resize', scale=(600, 600), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackRegionInputs', gt_regions=True)
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadRegions', regions_dir='data/regions'),
    dict(type='Resize', scale=(600, 600), keep_ratio=True),
    dict(type='LoadAnnotations'),  # after Resize: the truth keeps its size
    dict(type='PackRegionInputs')
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadRegions', regions_dir='data/regions'),
    dict(
        type='TestTimeAug',
        transforms=[[dict(type='Resize', scale=(600, 600), keep_ratio=True)],
                    [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
                    [dict(type='LoadAnnotations')], [dict(type='PackRegionInputs')]])
]
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='TrimapMetric', widths=(4, ))
]
test_evaluator = val_evaluator
