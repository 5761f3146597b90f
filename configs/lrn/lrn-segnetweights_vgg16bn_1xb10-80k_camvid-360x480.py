# Tables 2 and 4, LRN on CamVid (61.7 mIoU in the paper) with the class weights that SegNet
# published, as the first author's later code (G-FRNet) has them on CamVid; the paper counts them
# (Sec. 5.1), as lrn_vgg16bn_1xb10-80k_camvid-360x480.py does. Not run here.
_base_ = [
    './lrn_vgg16bn_1xb10-80k_camvid-360x480.py',
    '../_base_/class_weights/camvid_segnet_published.json'
]
model = dict(
    decode_head=dict(
        loss_decode=dict(
            class_weight={{_base_.camvid_segnet_published_class_weights.median_frequency}})))
