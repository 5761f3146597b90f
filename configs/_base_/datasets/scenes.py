# Street scenes drawn from a seed, no files: for trying things out, not for claims about quality.
train_pipeline = [dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]
test_pipeline = [dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ScenesDataset', num_images=2000, size=(128, 128), seed=0, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ScenesDataset', num_images=50, size=(128, 128), seed=1, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='StagewiseIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
