# Sec. 4.3: end-to-end training with the bounding box alone, 83.7 % global accuracy.
_base_ = './region_vgg16_1xb10-30e_siftflow-600.py'
model = dict(decode_head=dict(features='box'))
