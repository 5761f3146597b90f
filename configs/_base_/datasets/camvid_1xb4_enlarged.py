# CPU-sized: four crops of 360x480 of images that are enlarged up to 1.5 times. With --tta a test
# looks at the image and at 1.5 times its size, and mirrored.
_base_ = './camvid_1xb4.py'
enlarge = [dict(type='RandomChoiceResize', scales=[(480, 360), (600, 450), (720, 540)],
                keep_ratio=False),
           dict(type='RandomCrop', crop_size=(360, 480))]
train_pipeline = (
    _base_.load + _base_.labels + enlarge + _base_.flip + _base_.distort + _base_.pack)
scales = [dict(type='Resize', scale=scale, keep_ratio=False) for scale in ((480, 360), (720, 540))]
flips = [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0., 1.)]
tta_pipeline = _base_.load + [
    dict(type='TestTimeAug', transforms=[scales, flips, _base_.labels, _base_.pack])]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
