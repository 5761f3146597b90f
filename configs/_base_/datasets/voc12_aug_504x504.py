# PASCAL VOC 2012, 10,582 training images (with SBD): crops, batch and evaluation of Cityscapes.
_base_ = './cityscapes_504x504.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/VOCdevkit/VOC2012'
# The longest side of nearly every image is 500: 0.7 to 1.3 times the size, as in Cityscapes.
resize = [dict(type='RandomResize', scale=(500, 500), ratio_range=(0.7, 1.3), keep_ratio=True)]
train_pipeline = _base_.load + _base_.labels + resize + _base_.crop + _base_.flip + _base_.pack
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
val_split = dict(
    type='PascalVOCDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    ann_file='ImageSets/Segmentation/val.txt')
train_dataloader = dict(
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[train_split, aug_split]))
val_dataloader = dict(dataset=val_split)
test_dataloader = val_dataloader
