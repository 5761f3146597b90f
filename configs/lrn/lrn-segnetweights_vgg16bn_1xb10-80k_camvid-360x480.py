# Reproduces: LRN, Tables 2 and 4 (CamVid test): LRN, with the class weights that SegNet published
# Paper: 77.2 class accuracy, 61.7 mIoU
# Here: not run
# The first author's later code (G-FRNet) has these weights on CamVid. The paper counts its weights
# (Sec. 5.1), as lrn_vgg16bn_1xb10-80k_camvid-360x480.py does.
_base_ = [
    './lrn_vgg16bn_1xb10-80k_camvid-360x480.py',
    '../_base_/class_weights/camvid_segnet_published.json'
]
model = dict(
    decode_head=dict(
        loss_decode=dict(
            class_weight={{_base_.camvid_segnet_published_class_weights.median_frequency}})))
