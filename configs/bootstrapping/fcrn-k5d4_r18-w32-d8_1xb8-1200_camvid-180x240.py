# Small version of: bootstrapping/fcrn-k5d12_r152-d8_1xb16-204e_cityscapes-504x504.py
# Paper: not given
# Here: 50.8 mIoU on val; one run, 33 minutes on one thread
# On CamVid: half of ResNet-18's width, half of CamVid's resolution, random weights. Every pixel
# counts: the loss is at full resolution, not on the stride-8 grid.
_base_ = [
    '../_base_/models/fcrn_r50-d8.py', '../_base_/datasets/camvid_180x240.py',
    '../_base_/schedules/schedule_adamw_1200.py', '../_base_/runtime/default_runtime.py'
]
model = dict(
    data_preprocessor=dict(size=(184, 240)),
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=None),
    # A field of view of 136 pixels: one larger than the image would see little but padding.
    decode_head=dict(in_channels=256, num_classes=11, dilation=4, label_stride=None))
randomness = dict(seed=0)
