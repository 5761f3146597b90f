# Reproduces: SEMEDA, Table 4 (PASCAL VOC 2012 val): DeepLab v2, ImageNet + COCO, SEMEDA 2, 4, 0
# Paper: 76.5 mIoU
# Here: not run
_base_ = './deeplabv2-semeda-2-4-0_r101-d8_1xb6-40k_voc12aug-321x321.py'
checkpoint = '{{$MMSEG_EXT_DATA:data}}/weights/resnet101_coco.pth'
model = dict(
    pretrained=None, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
