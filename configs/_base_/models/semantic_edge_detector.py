# The network of the SEMEDA paper (Sec. 3.4), trained on windows of the label maps.
model = dict(
    type='SemanticEdgeDetector',
    edge_net=dict(type='SemanticEdgeNet', num_classes=21, channels=(16, 32)),
    crop_size=32,
    num_crops=4)
