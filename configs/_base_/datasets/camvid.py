# 360x480 images; the folder comes from $MMSEG_EXT_DATA, or data/.
data_root = '{{$MMSEG_EXT_DATA:data}}/camvid'
load = [dict(type='LoadImageFromFile')]
labels = [dict(type='LoadAnnotations')]
resize = [dict(type='Resize', scale=(480, 360), keep_ratio=False)]
flip = [dict(type='RandomFlip', prob=0.5)]  # ours: the paper names no augmentation
pack = [dict(type='PackSegInputs')]
train_pipeline = load + labels + resize + flip + pack
test_pipeline = load + resize + labels + pack  # the ground truth keeps its size
train_dataloader = dict(
    batch_size=10,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CamVidDataset', data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CamVidDataset', data_root=data_root, split='val', pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CamVidDataset', data_root=data_root, split='test', pipeline=test_pipeline))
val_evaluator = dict(type='StagewiseIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
