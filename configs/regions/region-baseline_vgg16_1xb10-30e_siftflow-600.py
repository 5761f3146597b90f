# Reproduces: Regions, Sec. 4.3 (SIFT Flow test): bounding box alone, trained to classify regions
# Paper: 60.9 global accuracy
# Here: not run
# The baseline of Eq. 1 and 2.
_base_ = './region-box_vgg16_1xb10-30e_siftflow-600.py'
model = dict(
    decode_head=dict(
        region_loss=True, softmax_first=True, loss_decode=dict(per_image=False)))
