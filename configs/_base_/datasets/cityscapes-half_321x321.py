# The same at half of the resolution, as the paper has it for DeepLab v2 (Sec. 4.1); the truth keeps
# its size at test.
_base_ = './cityscapes_321x321.py'
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = (1024, 512)
test_pipeline = _base_.test_pipeline
test_pipeline.insert(1, dict(type='Resize', scale=(1024, 512), keep_ratio=True))
train_dataloader = dict(batch_size=6, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
