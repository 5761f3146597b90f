# Cityscapes as in the FCRN authors' release of "Wider or Deeper": 16 crops of 504x504 at 0.7 to 1.3
# times the size, tested on whole images. The paper states neither; its 50-layer networks had larger
# crops (Sec. 3.1). The scales of the test with --tta are ours: the paper names none.
data_root = '{{$MMSEG_EXT_DATA:data}}/cityscapes'
load = [dict(type='LoadImageFromFile')]
labels = [dict(type='LoadAnnotations')]
resize = [dict(type='RandomResize', scale=(2048, 1024), ratio_range=(0.7, 1.3), keep_ratio=True)]
crop = [dict(type='RandomCrop', crop_size=(504, 504))]
flip = [dict(type='RandomFlip', prob=0.5)]
pack = [dict(type='PackSegInputs')]
train_pipeline = load + labels + resize + crop + flip + pack
test_pipeline = load + labels + pack
scales = [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.7, 1.0, 1.3)]
flips = [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)]
# labels after the scales: the ground truth keeps its size
tta_pipeline = load + [dict(type='TestTimeAug', transforms=[scales, flips, labels, pack])]
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CityscapesDataset',
        data_root=data_root,
        data_prefix=dict(img_path='leftImg8bit/val', seg_map_path='gtFine/val'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
