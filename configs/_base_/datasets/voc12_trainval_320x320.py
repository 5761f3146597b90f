# PASCAL VOC 2012 as in Table 1 of the LRN paper (Sec. 5.2): trained on trainval, 10,582 + 1,449
# images. The images of the test list have no labels: their predictions are written for PASCAL VOC's
# server, as PNG files of class numbers. Validation is on training images: a sign of life, no
# result.
_base_ = './voc12_aug_320x320.py'
val_split = dict(_base_.train_split, ann_file='ImageSets/Segmentation/val.txt')
train_dataloader = dict(dataset=dict(datasets=[_base_.train_split, _base_.aug_split, val_split]))
test_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/test.txt',
        pipeline=_base_.load + _base_.pack))
test_evaluator = dict(
    _delete_=True,
    type='IoUMetric',
    format_only=True,
    output_dir='work_dirs/voc12_test/results/VOC2012/Segmentation/comp6_test_cls')
