# Ours: the instances of the network with weighted pixels and no bootstrapping
# Paper: not given
# Here: 8.2 +- 0.0 mAPr 50, 1.1 +- 0.0 mAPr 70, 8.8 +- 0.1 mAPr vol on val; 2 runs
_base_ = './localization-weighted_lite0_1xb8-800_voc-instances-256x256.py'
weights = dict(
    type='Pretrained',
    checkpoint='work_dirs/fpn_lite0_1xb8-800_voc-instances-256x256/iter_800.pth')
model = dict(semantic=dict(_base_.semantic, init_cfg=weights))
test_evaluator = [*_base_.test_evaluator, dict(type='IoUMetric', iou_metrics=['mIoU'])]
val_evaluator = test_evaluator
