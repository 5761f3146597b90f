# Ours: mmseg's PSPNet with SEMEDA 4, 2, 0
# Paper: not given
# Here: not run
# SEMEDA in three lines, for any config of mmseg. The cross entropy stays mmseg's: divided by all
# pixels, ignored ones too. avg_non_ignore=True would divide it by the valid ones, as SEMEDA is.
_base_ = 'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='SemanticEdgeNetHook')]
model = dict(
    decode_head=dict(loss_decode=[
        dict(type='CrossEntropyLoss'),
        dict(type='SEMEDALoss', num_classes=19, layer_weights=(4, 2, 0))
    ]))
