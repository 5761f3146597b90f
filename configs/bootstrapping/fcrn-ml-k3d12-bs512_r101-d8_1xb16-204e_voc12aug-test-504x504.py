# Reproduces: Bootstrapping, Table 2 (PASCAL VOC 2012 test): the row "ours"
# Paper: 79.1 mIoU
# Here: not run
# Trained on the augmented training data alone (Sec. 1), with --tta at test. The images of the test
# list have no labels: predictions are written for PASCAL VOC's server, as PNG files of class
# numbers.
_base_ = './fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504.py'
test_pipeline = _base_.load + _base_.pack
tta_pipeline = _base_.load + [
    dict(type='TestTimeAug', transforms=[_base_.scales, _base_.flips, _base_.pack])
]
test_dataloader = dict(
    dataset=dict(ann_file='ImageSets/Segmentation/test.txt', pipeline=test_pipeline))
test_evaluator = dict(
    _delete_=True,
    type='IoUMetric',
    format_only=True,
    output_dir='work_dirs/voc12_test/results/VOC2012/Segmentation/comp6_test_cls')
