# mmseg's own config, with our plugins in reach.
_base_ = 'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'
custom_imports = dict(imports=['mmseg_ext'], allow_failed_imports=False)
