# PASCAL-Context, 59 classes and background; about 150 regions per image.
_base_ = './regions_600.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/VOCdevkit/VOC2010'
regions = dict(regions_dir='data/regions/pascal_context', scale=400, min_size=400)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(regions)
test_pipeline[1].update(regions)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].update(regions)
split = dict(
    type='PascalContextDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'))
lists = 'ImageSets/SegmentationContext/'
train_dataloader = dict(
    dataset=dict(ann_file=lists + 'train.txt', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(ann_file=lists + 'val.txt', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
