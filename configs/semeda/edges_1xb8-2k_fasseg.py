# Ours: the edge network of SEMEDA for 6 classes, from label maps alone
# Paper: not given
# Here: not run
_base_ = [
    '../_base_/models/semantic_edge_detector.py', '../_base_/datasets/fasseg_321x321.py',
    '../_base_/schedules/schedule_edges_2k.py', '../_base_/runtime/default_runtime.py'
]
model = dict(edge_net=dict(num_classes=6))
pipeline = _base_.labels + _base_.pack
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='SemanticEdgeMetric')
test_evaluator = val_evaluator
