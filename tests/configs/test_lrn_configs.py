"""The settings of the Label Refinement Network, as its paper and FIDELITY's sources state them."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, METRICS, MODELS

CONFIGS = Path(__file__).parents[2] / 'configs'
NETWORKS = ('lrn', 'segnet', 'segnet-ds')
DATA = ('camvid-360x480', 'sunrgbd-360x480', 'voc12aug-320x320', 'voc12trainval-320x320')

# Place in the paper, setting, value.
TRAINING = [
    ('Sec. 5.1', 'optim_wrapper.optimizer',
     dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0005)),
    ('Sec. 5.1, no other rates', 'optim_wrapper.paramwise_cfg', '(not set)'),
    ('Sec. 5.1, mini-batch', 'train_dataloader.batch_size', 10),
    ('Sec. 5.1', 'train_cfg.type', 'IterBasedTrainLoop'),
    ('Sec. 5.1, about 80,000', 'train_cfg.max_iters', 80000),
    ('Sec. 5.1, x0.1 after each 50,000', 'param_scheduler',
     [dict(type='MultiStepLR', milestones=[50000], gamma=0.1, by_epoch=False)]),
]
ENCODER = [
    ('Sec. 5.1, fine-tuned from VGG-16', 'model.backbone.init_cfg',
     dict(type='Pretrained', checkpoint='torchvision://vgg16')),
    ('Sec. 4', 'model.backbone.type', 'VGG'),
    ('Sec. 4', 'model.backbone.depth', 16),
    ('Sec. 4, SegNet', 'model.backbone.norm_cfg', dict(type='BN')),
    ('Sec. 4, all widths', 'model.backbone.base_channels', '(not set)'),
    ('Sec. 4, five stages and the last pooling', 'model.backbone.out_indices', '(not set)'),
    ('VGG', 'model.data_preprocessor.mean', [123.675, 116.28, 103.53]),
    ('Eq. 1 and 3', 'model.decode_head.loss_decode.type', 'ClassWeightedCrossEntropyLoss'),
    ('Caffe divides by their number', 'model.decode_head.loss_decode.normalization', 'valid'),
    ('labels are resized', 'model.decode_head.supervision', '(not set)'),
    ('sum of equal weights', 'model.decode_head.stage_weights', '(not set)'),
]
HEAD = {
    'lrn': [('Fig. 1', 'model.decode_head.type', 'LRNHead'),
            ('Fig. 2', 'model.decode_head.norm_cfg', dict(type='BN'))],
    'segnet': [('Sec. 5.1', 'model.decode_head.type', 'SegNetHead'),
               ('Sec. 5.1', 'model.decode_head.deep_supervision', '(not set)')],
    'segnet-ds': [('Sec. 5.1', 'model.decode_head.type', 'SegNetHead'),
                  ('Sec. 5.1', 'model.decode_head.deep_supervision', True)],
}


def splits(kind, *names):
    return [row for key, name in zip(('train', 'val', 'test'), names) for row in (
        ('data', f'{key}_dataloader.dataset.type', kind),
        ('split', f'{key}_dataloader.dataset.split', name))]


RESIZED = [
    row for key in ('train', 'val', 'test') for row in (
        ('Sec. 5.1, 360 x 480', f'{key}_dataloader.dataset.pipeline.Resize.scale', (480, 360)),
        ('Sec. 5.1, 360 x 480', f'{key}_dataloader.dataset.pipeline.Resize.keep_ratio', False),
        ('no crop', f'{key}_dataloader.dataset.pipeline.RandomCrop', '(not set)'))
]
# Sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist.
COUNTED = [.256527308, .185282667, 4.396287575, .136869322, .918473131, .387319864, 3.533074291,
           1.812685267, .724619798, 5.855012981, 8.136508447]
PUBLISHED = [0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614]
# SegNet's train_segnet_sun.prototxt, without the first of its 38, for the background.
SUN_PUBLISHED = [
    0.382592, 0.447844, 0.634237, 0.375678, 0.582794, 0.476692, 0.776787, 0.980661, 1.020118,
    0.623396, 2.596563, 0.974491, 0.920240, 0.663878, 1.173357, 0.861062, 0.919955, 2.147320,
    1.190958, 1.164314, 1.854754, 1.446550, 2.853078, 0.768276, 1.651721, 4.456313, 2.205633,
    1.116695, 2.781543, 0.705917, 4.005834, 2.208329, 0.967071, 1.475710, 5.347752, 0.745528,
    4.017548]
CLASS_WEIGHT = 'model.decode_head.loss_decode.class_weight'
CAMVID = [
    ('Sec. 5.3, 11 classes', 'model.decode_head.num_classes', 11),
    ('Sec. 5.1, counted', CLASS_WEIGHT, COUNTED),
    *splits('CamVidDataset', 'train', 'val', 'test'), *RESIZED]
SUN = [
    ('Sec. 5.4, 37 classes', 'model.decode_head.num_classes', 37),
    ('Sec. 5.1, SegNet', CLASS_WEIGHT, SUN_PUBLISHED),
    *splits('SUNRGBDDataset', 'train', 'test', 'test'), *RESIZED]
LISTS = 'ImageSets/Segmentation'
VOC = [
    ('20 classes and background', 'model.decode_head.num_classes', 21),
    ('Sec. 5.1, on the other data sets alone', CLASS_WEIGHT, '(not set)'),
    ('Sec. 5.1', 'model.data_preprocessor.size', (320, 320)),
    ('Sec. 5.1, tested at 512 x 512', 'model.data_preprocessor.test_cfg', dict(size=(512, 512))),
    ('Sec. 5.2', 'train_dataloader.dataset.type', 'ConcatDataset'),
    ('Sec. 5.2', 'val_dataloader.dataset.type', 'PascalVOCDataset'),
    ('Sec. 5.2', 'val_dataloader.dataset.ann_file', f'{LISTS}/val.txt'),
    ('no other size', 'val_dataloader.dataset.pipeline.Resize', '(not set)'),
    ('Sec. 5.2', 'test_dataloader.dataset.type', 'PascalVOCDataset'),
    ('no other size', 'test_dataloader.dataset.pipeline.Resize', '(not set)')]
VOC_FOR_VAL = [('Sec. 5.5', 'test_dataloader.dataset.ann_file', f'{LISTS}/val.txt')]
VOC_FOR_TEST = [
    ('Table 1', 'test_dataloader.dataset.ann_file', f'{LISTS}/test.txt'),
    ('no labels', 'test_dataloader.dataset.pipeline.LoadAnnotations', '(not set)'),
    ('server', 'test_evaluator.format_only', True)]
TABLES = dict(zip(DATA, ([CAMVID], [SUN], [VOC, VOC_FOR_VAL], [VOC, VOC_FOR_TEST])))
# Lists and folders of labels: 1,464 + 9,118 images, and 1,449 more in trainval (Sec. 5.2).
TRAINED = {'voc12aug-320x320': [('train', 'SegmentationClass'), ('aug', 'SegmentationClassAug')]}
TRAINED['voc12trainval-320x320'] = [*TRAINED['voc12aug-320x320'], ('val', 'SegmentationClass')]


@pytest.mark.parametrize('data', DATA)
@pytest.mark.parametrize('network', NETWORKS)
def test_a_network_has_the_papers_settings(network, data, read, pinned):
    cfg = read(f'lrn/{network}_vgg16bn_1xb10-80k_{data}')
    pinned(cfg, TRAINING, ENCODER, HEAD[network], *TABLES[data])


@pytest.mark.parametrize('data', TRAINED)
@pytest.mark.parametrize('network', NETWORKS)
def test_voc_is_trained_on_the_papers_images_in_crops(network, data, read):
    cfg = read(f'lrn/{network}_vgg16bn_1xb10-80k_{data}')
    parts = cfg.train_dataloader.dataset.datasets
    assert [(part.ann_file, part.data_prefix.seg_map_path) for part in parts] == [
        (f'{LISTS}/{name}.txt', folder) for name, folder in TRAINED[data]]
    for part in parts:
        assert part.type == 'PascalVOCDataset'
        assert [t for t in part.pipeline if t.type in ('RandomCrop', 'Resize', 'RandomResize')] == [
            dict(type='RandomCrop', crop_size=(320, 320))]


def test_the_published_weights_change_nothing_else(read):
    counted, published = (
        read(f'lrn/lrn{name}_vgg16bn_1xb10-80k_camvid-360x480') for name in ('', '-segnetweights'))
    assert published.model.decode_head.loss_decode.class_weight == PUBLISHED
    published.pop('camvid_segnet_published_class_weights')
    published.model.decode_head.loss_decode.class_weight = COUNTED
    assert published.to_dict() == counted.to_dict()


def test_the_papers_networks_are_all_large_configs():
    names = {f'{network}_vgg16bn_1xb10-80k_{data}' for network in NETWORKS for data in DATA}
    found = {path.stem for path in (CONFIGS / 'lrn').glob('*.py') if '-w16_' not in path.stem}
    assert found == names | {'lrn-segnetweights_vgg16bn_1xb10-80k_camvid-360x480'}


@pytest.mark.parametrize('name, size', [
    ('lrn/lrn_vgg16bn_1xb10-80k_voc12trainval-320x320', (100, 75)),
    ('bootstrapping/fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_voc12aug-test-504x504', (75, 100))])
def test_predictions_for_the_test_list_are_written_without_labels(name, size, read, narrow,
                                                                  tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the config's folder for predictions is relative
    for folder in ('JPEGImages', 'ImageSets/Segmentation'):
        (tmp_path / 'VOC2012' / folder).mkdir(parents=True)
    (tmp_path / f'VOC2012/{LISTS}/test.txt').write_text('2008_000006\n')
    cv2.imwrite(str(tmp_path / 'VOC2012/JPEGImages/2008_000006.jpg'),
                np.random.randint(0, 256, (*size, 3), np.uint8))
    cfg = narrow(read(name))
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'VOC2012')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build(cfg.model)
    model.eval()
    with torch.no_grad():
        (sample, ) = model.test_step(pseudo_collate([dataset[0]]))
    metric = METRICS.build(cfg.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    metric.process({}, [sample.to_dict()])
    assert metric.evaluate(1) == {}  # there is nothing to compare with
    folder = 'work_dirs/voc12_test/results/VOC2012/Segmentation/comp6_test_cls'
    written = cv2.imread(str(tmp_path / folder / '2008_000006.png'), cv2.IMREAD_UNCHANGED)
    assert written.shape == size  # a grey value for each pixel of the image
    assert np.array_equal(written, sample.pred_sem_seg.data[0].numpy())
