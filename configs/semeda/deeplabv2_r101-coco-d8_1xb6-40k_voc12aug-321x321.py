# Reproduces: SEMEDA, Table 4 (PASCAL VOC 2012 val): DeepLab v2, ImageNet + COCO, cross entropy
#   alone
# Paper: 75.3 mIoU
# Here: not run
# For the weights see README.md, "Weights".
_base_ = './deeplabv2_r101-d8_1xb6-40k_voc12aug-321x321.py'
checkpoint = '{{$MMSEG_EXT_DATA:data}}/weights/resnet101_coco.pth'
model = dict(
    pretrained=None, backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
