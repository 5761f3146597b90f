# Ours: the edge network of SEMEDA for 6 classes that does not tell classes apart
# Paper: not given
# Here: not run
_base_ = './edges_1xb8-2k_fasseg.py'
model = dict(edge_net=dict(class_agnostic=True))
