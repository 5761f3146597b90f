# SIFT Flow, 2,488 training and 200 test images of 256x256; about 370 regions each.
_base_ = './regions_600.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/siftflow'
regions = dict(_base_.regions, regions_dir='data/regions/siftflow', scale=100, min_size=100)
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
train_pipeline = (
    _base_.load + _base_.labels + train_regions + _base_.resize + _base_.flip + _base_.train_pack)
test_pipeline = _base_.load + test_regions + _base_.resize + _base_.labels + _base_.test_pack
tta_pipeline = _base_.load + test_regions + _base_.views
split = dict(type='SIFTFlowDataset', data_root=data_root)
train_dataloader = dict(dataset=dict(split='train', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(split='test', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
