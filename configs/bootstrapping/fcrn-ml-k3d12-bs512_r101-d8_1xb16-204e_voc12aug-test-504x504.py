# Table 2, "ours" on the VOC 2012 test list: 79.1 mIoU in the paper, trained on the augmented
# training data alone (Sec. 1), with --tta at test; not run here. The list has no labels:
# predictions are written for VOC's server, as PNG files of class numbers.
_base_ = './fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504.py'
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in (0.7, 1.0, 1.3)],
            [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)],
            [dict(type='PackSegInputs')]
        ])
]
test_dataloader = dict(
    dataset=dict(ann_file='ImageSets/Segmentation/test.txt', pipeline=test_pipeline))
test_evaluator = dict(
    _delete_=True,
    type='IoUMetric',
    format_only=True,
    output_dir='work_dirs/voc12_test/results/VOC2012/Segmentation/comp6_test_cls')
