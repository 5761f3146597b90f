# Table 4: pretrained on ImageNet and COCO, 65.8 mIoU. For the weights see the README, "Weights".
_base_ = './deeplabv2_r101-d8_1xb6-40k_cityscapes-321x321.py'
checkpoint = '{{$MMSEG_EXT_DATA:data}}/weights/resnet101_coco.pth'
model = dict(
    pretrained=None, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
