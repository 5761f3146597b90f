# Table 4: pretrained on ImageNet and COCO, 76.5 mIoU in the paper.
_base_ = './deeplabv2-semeda-2-4-0_r101-d8_1xb6-40k_voc12aug-321x321.py'
checkpoint = '{{$MMSEG_EXT_DATA:data}}/weights/resnet101_coco.pth'
model = dict(
    pretrained=None, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
