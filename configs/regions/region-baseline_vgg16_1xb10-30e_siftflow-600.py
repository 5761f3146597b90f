# Sec. 4.3: the same trained to classify regions (Eq. 1 and 2), 60.9 % global accuracy.
_base_ = './region-box_vgg16_1xb10-30e_siftflow-600.py'
model = dict(
    decode_head=dict(
        region_loss=True, softmax_first=True, loss_decode=dict(per_image=False)))
