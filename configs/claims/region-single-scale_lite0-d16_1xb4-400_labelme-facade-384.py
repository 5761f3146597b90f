# Ours: regions and their boxes, unbalanced, superpixels in place of overlapping regions
# Paper: not given
# Here: 35.9 +- 0.6 mIoU on val; 3 runs of 400 iterations
_base_ = './region_lite0-d16_1xb4-400_labelme-facade-384.py'
regions = dict(_base_.regions, overlapping=False)
train_regions = [dict(regions, colour_space='random')]
test_regions = [regions]
train_pipeline = (
    _base_.load + _base_.labels + train_regions + _base_.resize + _base_.flip + _base_.distort
    + _base_.train_pack)
test_pipeline = _base_.load + test_regions + _base_.resize + _base_.labels + _base_.test_pack
tta_pipeline = _base_.load + test_regions + _base_.views
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
