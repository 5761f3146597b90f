# Reproduces: SEMEDA, Table 4 (Cityscapes val): DeepLab v2, ImageNet + COCO, SEMEDA 4, 2, 0
# Paper: 67.8 mIoU
# Here: not run
_base_ = './deeplabv2-semeda-4-2-0_r101-d8_1xb6-40k_cityscapes-321x321.py'
checkpoint = '{{$MMSEG_EXT_DATA:data}}/weights/resnet101_coco.pth'
model = dict(
    pretrained=None, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
