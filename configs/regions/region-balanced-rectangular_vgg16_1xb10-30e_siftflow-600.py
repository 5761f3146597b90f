# Reproduces: Regions, Table 4 (SIFT Flow test): purely rectangular regions, balanced
# Paper: 59.3 class accuracy
# Here: not run
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='box'))
train_pack = [dict(type='PackRegionInputs', gt_regions=True, rectangular=True)]
test_pack = [dict(type='PackRegionInputs', rectangular=True)]
train_pipeline = (
    _base_.load + _base_.labels + _base_.train_regions + _base_.resize + _base_.flip + train_pack)
test_pipeline = _base_.load + _base_.test_regions + _base_.resize + _base_.labels + test_pack
views = [
    dict(type='TestTimeAug', transforms=[_base_.resize, _base_.flips, _base_.labels, test_pack])
]
tta_pipeline = _base_.load + _base_.test_regions + views
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
