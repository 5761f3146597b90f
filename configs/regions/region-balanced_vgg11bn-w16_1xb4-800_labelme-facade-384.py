# Balanced (Sec. 3.4): inverse class frequencies, which sum to 1 over the pixels of an image.
_base_ = [
    './region_vgg11bn-w16_1xb4-800_labelme-facade-384.py',
    '../_base_/class_weights/labelmefacade.json'
]
model = dict(
    decode_head=dict(
        loss_decode=dict(
            class_weight={{_base_.labelmefacade_class_weights.inverse_frequency}})))
