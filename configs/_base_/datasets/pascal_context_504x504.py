# PASCAL-Context, 59 classes and background, 4,998 training images: treated as PASCAL VOC 2012.
_base_ = './voc12_aug_504x504.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/VOCdevkit/VOC2010'
split = dict(
    type='PascalContextDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        ann_file='ImageSets/SegmentationContext/train.txt',
        pipeline=_base_.train_pipeline,
        **split))
val_dataloader = dict(dataset=dict(ann_file='ImageSets/SegmentationContext/val.txt', **split))
test_dataloader = val_dataloader
