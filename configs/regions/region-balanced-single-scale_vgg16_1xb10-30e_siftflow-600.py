# Sec. 4.3: superpixels instead of overlapping regions of all scales, 60.0 % class accuracy.
_base_ = './region-balanced_vgg16_1xb10-30e_siftflow-600.py'
_base_.train_dataloader.dataset.pipeline[2].overlapping = False
_base_.val_dataloader.dataset.pipeline[1].overlapping = False
_base_.test_dataloader.dataset.pipeline[1].overlapping = False
_base_.tta_pipeline[1].overlapping = False
