# SBD with its instances, 5,623 images train and 5,732 val: crops and batch as for PASCAL VOC.
_base_ = './cityscapes_504x504.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/sbd'
labels = [dict(type='LoadAnnotations'), dict(type='LoadInstanceAnnotations')]
resize = [
    dict(type='RandomResize', scale=(500, 500), ratio_range=(0.7, 1.3), keep_ratio=True,
         resize_type='mmseg.Resize')
]
pack = [dict(type='PackInstanceInputs')]
train_pipeline = _base_.load + labels + resize + _base_.crop + _base_.flip + pack
test_pipeline = _base_.load + labels + pack
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PascalVOCInstanceDataset',
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='PascalVOCInstanceDataset',
        data_root=data_root,
        split='val',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='RegionAPMetric', protocol='sds'),
    dict(type='RegionAPMetric', protocol='mnc', prefix='mnc')
]
test_evaluator = val_evaluator
