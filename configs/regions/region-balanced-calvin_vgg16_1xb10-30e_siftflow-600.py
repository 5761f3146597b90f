# Regions are pooled and chosen as in the released code, which has wider layers (see README.md).
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(roi_layer=dict(mode='calvin', bins='calvin')))
_base_.train_dataloader.dataset.pipeline[-1].min_gt_iou = 0.1
