# Pixels below probability 0.6, at least a tenth of a batch: 0.1 * 8 * 180 * 240.
_base_ = './fcrn-k5d4_r18-w32-d8_1xb8-1200_camvid-180x240.py'
model = dict(
    decode_head=dict(
        loss_decode=dict(
            _delete_=True, type='BootstrappedCrossEntropyLoss', thresh=0.6, min_kept=34560)))
# Draws the kept pixels; logs their number, the threshold and the classes that they are of.
default_hooks = dict(visualization=dict(type='HardPixelVisualizationHook'))
