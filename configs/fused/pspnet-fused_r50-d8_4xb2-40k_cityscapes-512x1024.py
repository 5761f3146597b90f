# Ours: mmseg's PSPNet without logits of the size of the image
# Paper: not given
# Here: not run
_base_ = 'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
model = dict(type='FusedEncoderDecoder')
