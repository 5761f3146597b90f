# Reproduces: Bootstrapping, Table 6 (SBD val): 50 layers, bootstrapping, weighted
# Paper: 59.8 mAPr 50, 43.5 mAPr 70, 54.7 mAPr vol
# Here: not run
_base_ = './localization-k5d12-bs512-weighted_r50-d8_1xb16-204e_sbd-504x504.py'
weights = dict(
    type='Pretrained',
    checkpoint='work_dirs/fcrn-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504/epoch_204.pth')
model = dict(semantic=dict(_base_.semantic, init_cfg=weights))
test_evaluator = [*_base_.test_evaluator, dict(type='IoUMetric', iou_metrics=['mIoU'])]
val_evaluator = test_evaluator
