# Reproduces: Bootstrapping, Table 6 (SBD val): 50 layers
# Paper: 57.2 mAPr 50, 40.5 mAPr 70, 52.5 mAPr vol
# Here: not run
_base_ = './localization-k5d12_r50-d8_1xb16-204e_sbd-504x504.py'
weights = dict(
    type='Pretrained',
    checkpoint='work_dirs/fcrn-k5d12-bs512_r50-d8_1xb16-204e_sbd-504x504/epoch_204.pth')
model = dict(semantic=dict(_base_.semantic, init_cfg=weights))
test_evaluator = [*_base_.test_evaluator, dict(type='IoUMetric', iou_metrics=['mIoU'])]
val_evaluator = test_evaluator
