# PASCAL VOC 2012 as in the LRN paper, Sec. 5.2: 10,582 training images (with SBD), 320x320 crops,
# tested on 512x512 pixels from which the image's own part is cut out.
crop_size = (320, 320)
data_root = '{{$MMSEG_EXT_DATA:data}}/VOCdevkit/VOC2012'
load = [dict(type='LoadImageFromFile')]
labels = [dict(type='LoadAnnotations')]
crop = [dict(type='RandomCrop', crop_size=crop_size)]
flip = [dict(type='RandomFlip', prob=0.5)]  # ours: the paper names no augmentation but the crop
pack = [dict(type='PackSegInputs')]
train_pipeline = load + labels + crop + flip + pack
test_pipeline = load + labels + pack
train_split = dict(
    type='PascalVOCDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='ImageSets/Segmentation/train.txt',
    pipeline=train_pipeline)
aug_split = dict(
    type='PascalVOCDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'),
    ann_file='ImageSets/Segmentation/aug.txt',
    pipeline=train_pipeline)
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='ConcatDataset', datasets=[train_split, aug_split]))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='PascalVOCDataset',
        data_root=data_root,
        data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
        ann_file='ImageSets/Segmentation/val.txt',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='StagewiseIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
