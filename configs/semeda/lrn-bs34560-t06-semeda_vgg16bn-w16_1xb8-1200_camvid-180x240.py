# Ours: LRN, hard pixels and SEMEDA in one
# Paper: not given
# Here: not run
# Every stage of label refinement is enlarged to the label map (supervision='logits') and trained on
# its hard pixels and by its edges: LRN's own maps begin at 6x8, where nearly every position is
# beside an edge.
_base_ = '../lrn/lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
model = dict(
    decode_head=dict(
        supervision='logits',
        loss_decode=[
            dict(type='BootstrappedCrossEntropyLoss', thresh=0.6, min_kept=34560),
            dict(type='SEMEDALoss', num_classes=11, layer_weights=(4, 2, 0))
        ]))
