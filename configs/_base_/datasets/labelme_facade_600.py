# LabelMeFacade, 100 training images. Superpixels as for PASCAL-Context, whose images are of about
# the same size.
_base_ = './regions_600.py'
data_root = '{{$MMSEG_EXT_DATA:data}}/labelme_facade'
regions = dict(
    _base_.regions,
    regions_dir='data/regions/labelme_facade',
    img_dir=data_root + '/images',
    scale=400,
    min_size=400)
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
train_pipeline = (
    _base_.load + _base_.labels + train_regions + _base_.resize + _base_.flip + _base_.train_pack)
test_pipeline = _base_.load + test_regions + _base_.resize + _base_.labels + _base_.test_pack
tta_pipeline = _base_.load + test_regions + _base_.views
split = dict(type='LabelMeFacadeDataset', data_root=data_root)
train_dataloader = dict(dataset=dict(split='train', pipeline=train_pipeline, **split))
val_dataloader = dict(dataset=dict(split='val', pipeline=test_pipeline, **split))
test_dataloader = val_dataloader
