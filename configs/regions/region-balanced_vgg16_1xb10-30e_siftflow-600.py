# Reproduces: Regions, Tables 1, 3 and 4 (SIFT Flow test): region + box, separate weights, balanced
# Paper: 64.0 class accuracy, 57.3 class accuracy near boundaries
# Here: not run
# The class weights (Sec. 3.4) are made once by python tools/class_frequencies.py CONFIG --ignored
# drop --only inverse_frequency --out FILE.
_base_ = './region_vgg16_1xb10-30e_siftflow-600.py'
model = dict(
    decode_head=dict(loss_decode=dict(class_weight='data/class_weights/siftflow.json')))
