# What the data sets of the region paper have in common. Sec. 4.1: training takes the ground-truth
# regions and the proposals of one of three colour spaces. The paper draws the colour space for each
# batch; here each image draws its own. The paper does not state the longest side of 600, the flips,
# the ten images per step and RGB proposals at test: these are the released code's.
# Proposals are made by: python tools/generate_regions.py CONFIG
load = [dict(type='LoadImageFromFile')]
labels = [dict(type='LoadAnnotations')]
regions = dict(type='LoadRegions', regions_dir='data/regions')
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
resize = [dict(type='Resize', scale=(600, 600), keep_ratio=True)]
flip = [dict(type='RandomFlip', prob=0.5)]
flips = [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)]
train_pack = [dict(type='PackRegionInputs', gt_regions=True)]
test_pack = [dict(type='PackRegionInputs')]
train_pipeline = load + labels + train_regions + resize + flip + train_pack
test_pipeline = load + test_regions + resize + labels + test_pack  # ground truth keeps its size
views = [dict(type='TestTimeAug', transforms=[resize, flips, labels, test_pack])]
tta_pipeline = load + test_regions + views
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
