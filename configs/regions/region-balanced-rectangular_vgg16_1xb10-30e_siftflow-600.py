# Table 4, purely rectangular regions: 59.3 % class accuracy.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
_base_.train_dataloader.dataset.pipeline[-1].rectangular = True
_base_.val_dataloader.dataset.pipeline[-1].rectangular = True
_base_.test_dataloader.dataset.pipeline[-1].rectangular = True
_base_.tta_pipeline[2].transforms[3][0].rectangular = True
model = dict(decode_head=dict(features='box'))
