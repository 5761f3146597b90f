# Small version of: instances/instances-k5d12-bs512-weighted_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 8.1 +- 0.0 mAPr 50, 1.1 +- 0.0 mAPr 70, 8.7 +- 0.0 mAPr vol on val; 2 runs
_base_ = './localization-bs512-weighted_lite0_1xb8-800_voc-instances-256x256.py'
weights = dict(
    type='Pretrained',
    checkpoint='work_dirs/fpn_lite0_1xb8-800_voc-instances-256x256/iter_800.pth')
model = dict(semantic=dict(_base_.semantic, init_cfg=weights))
test_evaluator = [*_base_.test_evaluator, dict(type='IoUMetric', iou_metrics=['mIoU'])]
val_evaluator = test_evaluator
