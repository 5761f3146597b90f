# Three papers: every stage of label refinement is trained on its hard pixels and by its edges.
_base_ = '../lrn/lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='BootstrappedCrossEntropyLoss', thresh=0.6, min_kept=34560),
        dict(type='SEMEDALoss', num_classes=11, layer_weights=(4, 2, 0))
    ]))
