# Ours: SEMEDA at full resolution, by an edge network that cannot tell classes apart
# Paper: not given
# Here: 67.3 +- 0.1 mIoU on val; 3 runs of 400 iterations
_base_ = './fpn_lite0_1xb4-400_camvid-360x480.py'
edges = dict(type='Pretrained', checkpoint='work_dirs/edges-agnostic_1xb8-2k_camvid/iter_2000.pth')
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss', avg_non_ignore=True),
        dict(
            type='SEMEDALoss',
            num_classes=11,
            layer_weights=(4, 2, 0),
            class_agnostic=True,
            init_cfg=edges)
    ]))
