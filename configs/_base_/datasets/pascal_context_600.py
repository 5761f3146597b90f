# PASCAL-Context, 59 classes and background; about 150 regions per image.
_base_ = './regions_600.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/VOCdevkit/VOC2010'
regions = dict(_base_.regions, regions_dir='data/regions/pascal_context', scale=400, min_size=400)
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
train_pipeline = (
    _base_.load + _base_.labels + train_regions + _base_.resize + _base_.flip + _base_.train_pack)
test_pipeline = _base_.load + test_regions + _base_.resize + _base_.labels + _base_.test_pack
tta_pipeline = _base_.load + test_regions + _base_.views
split = dict(
    type='PascalContextDataset',
    data_root=data_root,
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassContext'))
lists = 'ImageSets/SegmentationContext/'
train_dataloader = dict(
    dataset=dict(ann_file=lists + 'train.txt', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(ann_file=lists + 'val.txt', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
