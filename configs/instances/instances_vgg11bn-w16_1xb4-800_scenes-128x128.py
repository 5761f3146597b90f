# Small version of: instances/instances-k5d12-bs512-weighted_r50-d8_1xb16-204e_sbd-504x504.py
# Paper: not given
# Here: 4.5 mAPr 50, 2.0 mAPr 70, 6.6 mAPr vol on val; 1 run of 800 iterations
_base_ = './localization_vgg11bn-w16_1xb4-800_scenes-128x128.py'
weights = dict(
    type='Pretrained',
    checkpoint='work_dirs/fcn_vgg11bn-w16_1xb4-800_scenes-128x128/iter_800.pth')
model = dict(semantic=dict(_base_.semantic, init_cfg=weights))
test_evaluator = [*_base_.test_evaluator, dict(type='IoUMetric', iou_metrics=['mIoU'])]
val_evaluator = test_evaluator
