# Cityscapes at half of its resolution, as the SEMEDA paper has it for DeepLab v2 (Sec. 4.1). The
# ground truth keeps its size at test.
_base_ = './cityscapes_321x321.py'
resize = [dict(type='RandomResize', scale=(1024, 512), ratio_range=(0.5, 2.0), keep_ratio=True)]
train_pipeline = _base_.load + _base_.labels + resize + _base_.crop + _base_.flip + _base_.pack
halve = [dict(type='Resize', scale=(1024, 512), keep_ratio=True)]
test_pipeline = _base_.load + halve + _base_.labels + _base_.pack
train_dataloader = dict(batch_size=6, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
