# Ours: region + box, balanced, with the released code's pooling and choice of proposals
# Paper: not given
# Here: not run
# The released code has wider layers too: see README.md.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(roi_layer=dict(mode='calvin', bins='calvin')))
train_pack = [dict(type='PackRegionInputs', gt_regions=True, min_gt_iou=0.1)]
train_pipeline = (
    _base_.load + _base_.labels + _base_.train_regions + _base_.resize + _base_.flip + train_pack)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
