# As the released code pools and chooses regions, which gave 65.2 +- 0.7 % class accuracy.
_base_ = './region-balanced-tied_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(roi_layer=dict(mode='calvin', bins='calvin')))
_base_.train_dataloader.dataset.pipeline[-1].min_gt_iou = 0.1
