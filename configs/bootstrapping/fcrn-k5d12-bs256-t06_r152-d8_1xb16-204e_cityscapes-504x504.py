# The rule of the authors' release: points below probability 0.6, at least 256 of a device's batch.
_base_ = './fcrn-k5d12-bs512_r152-d8_1xb16-204e_cityscapes-504x504.py'
model = dict(decode_head=dict(loss_decode=dict(thresh=0.6, min_kept=256, per_image=False)))
