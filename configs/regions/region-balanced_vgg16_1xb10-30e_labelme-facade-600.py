# Ours: the setting of SIFT Flow on LabelMeFacade, balanced
# Paper: not given
# Here: not run
_base_ = [
    './region_vgg16_1xb10-30e_labelme-facade-600.py', '../_base_/class_weights/labelmefacade.json'
]
model = dict(
    decode_head=dict(
        loss_decode=dict(
            class_weight={{_base_.labelmefacade_class_weights.inverse_frequency}})))
