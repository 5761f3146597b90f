# Ours: mmseg's OCRNet, a cascade of two heads, without logits of the size of the image
# Paper: not given
# Here: not run
_base_ = 'mmseg::ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py'
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
model = dict(type='FusedCascadeEncoderDecoder')
