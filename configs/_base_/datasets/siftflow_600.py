# SIFT Flow, 2,488 training and 200 test images of 256x256; about 370 regions each.
_base_ = './regions_600.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/siftflow'
regions = dict(regions_dir='data/regions/siftflow', scale=100, min_size=100)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(regions)
test_pipeline[1].update(regions)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].update(regions)
split = dict(type='SIFTFlowDataset', data_root=data_root)
train_dataloader = dict(dataset=dict(split='train', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(split='test', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
