# Reproduces: Regions, Tables 2 and 3 (PASCAL-Context val): balanced
# Paper: 49.9 class accuracy, 38.9 class accuracy near boundaries
# Here: not run
_base_ = './region_vgg16_1xb10-30e_pascal-context-600.py'
model = dict(
    decode_head=dict(loss_decode=dict(class_weight='data/class_weights/pascal_context.json')))
