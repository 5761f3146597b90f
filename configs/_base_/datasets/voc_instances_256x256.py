# CPU-sized: a small set in the layout of PASCAL VOC, images at half of their size (the longest side
# is 250), instances judged at the full one.
_base_ = './sbd_504x504.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/voc_style_instances'
random_resize = [
    dict(type='RandomResize', scale=(250, 250), ratio_range=(0.7, 1.3), keep_ratio=True,
         resize_type='mmseg.Resize')
]
resize = [dict(type='Resize', scale=(250, 250), keep_ratio=True)]
crop = [dict(type='RandomCrop', crop_size=(256, 256))]
train_pipeline = _base_.load + _base_.labels + random_resize + crop + _base_.flip + _base_.pack
test_pipeline = _base_.load + resize + _base_.labels + _base_.pack
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
