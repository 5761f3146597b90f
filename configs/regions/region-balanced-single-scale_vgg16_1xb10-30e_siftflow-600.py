# Reproduces: Regions, Sec. 4.3 (SIFT Flow test): superpixels in place of overlapping regions,
#   balanced
# Paper: 60.0 class accuracy
# Here: not run
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
regions = dict(_base_.regions, overlapping=False)
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
train_pipeline = (
    _base_.load + _base_.labels + train_regions + _base_.resize + _base_.flip + _base_.train_pack)
test_pipeline = _base_.load + test_regions + _base_.resize + _base_.labels + _base_.test_pack
tta_pipeline = _base_.load + test_regions + _base_.views
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
