# LabelMeFacade, 100 training images, with superpixels as for PASCAL-Context, whose images are as
# large.
_base_ = './regions_600.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/labelme_facade'
regions = dict(
    regions_dir='data/regions/labelme_facade',
    img_dir=data_root + '/images',
    scale=400,
    min_size=400)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].update(regions)
test_pipeline[1].update(regions)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].update(regions)
split = dict(type='LabelMeFacadeDataset', data_root=data_root)
train_dataloader = dict(dataset=dict(split='train', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(split='val', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
