# SUN RGB-D, 37 classes, 360x480: loaded and evaluated as CamVid.
_base_ = './camvid.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/sunrgbd'
dataset = dict(type='SUNRGBDDataset', data_root=data_root)
train_dataloader = dict(num_workers=4, dataset=dataset)
val_dataloader = dict(num_workers=4, dataset=dict(split='test', **dataset))  # no val split exists
test_dataloader = dict(num_workers=4, dataset=dataset)
