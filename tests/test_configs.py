"""Every config loads, builds its model and runs a loss step and a prediction on a tiny input."""
import copy
import functools
import json
import subprocess
import sys
from pathlib import Path

import cv2
import mmengine.config.utils
import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.engine import launch
from mmseg_ext.ops import RegionSet

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)
CAMVID_PAIR = [
    f'fcrn-k5d4{rule}_r18-w32-d8_1xb8-1200_camvid-180x240' for rule in ('', '-bs34560-t06')
]
PSPNET_PAIR = [
    f'pspnet{rule}_r50-d8_4xb2-40k_cityscapes-512x1024' for rule in ('', '-bs67633-t06')
]
# FCRN paper: depth, output stride, kernel, dilation, field of view in pixels.
TABLE_1 = [(depth, *row) for depth in (50, 101)
           for row in ((16, 3, 6, 208), (8, 3, 6, 104), (8, 3, 12, 200), (8, 3, 18, 296),
                       (8, 5, 6, 200), (8, 5, 12, 392), (8, 7, 6, 296))]
TABLE_3 = TABLE_1 + [(152, *row) for _, *row in TABLE_1[:7]] + [(50, 8, 5, 18, 584),
                                                                (50, 8, 7, 12, 584)]
# SEMEDA paper: a config with cross entropy alone, the one with a loss beside it, that loss.
XCEPTION = {19: 'x71-d16_1xb2-40k_cityscapes-321x321', 21: 'x71-d16_1xb4-40k_voc12aug-321x321'}
SOBEL = {'05': 0.5, '1': 1, '2': 2, '4': 4}
LAMBDAS = {'05-05-05': (0.5, 0.5, 0.5), '1-05-0': (1, 0.5, 0), '05-1-0': (0.5, 1, 0),
           '1-05-025': (1, 0.5, 0.25), '1-1-0': (1, 1, 0), '2-4-0': (2, 4, 0), '4-2-0': (4, 2, 0),
           '4-4-0': (4, 4, 0)}
BEST = {19: '4-2-0', 21: '2-4-0', 11: '2-4-0', 6: '2-4-0'}


def sobel(weight):
    return dict(type='SobelEdgeLoss', loss_weight=weight)


def semeda(num_classes, weights):
    return dict(type='SEMEDALoss', num_classes=num_classes, layer_weights=weights)


SEMEDA_TABLE_1 = [
    (f'deeplabv3plus_{rest}', f'deeplabv3plus-{name}_{rest}', loss)
    for classes, rest in XCEPTION.items()
    for name, loss in [(f'sobel-{name}', sobel(weight)) for name, weight in SOBEL.items()]
    + [(f'semeda-{name}', semeda(classes, weights)) for name, weights in LAMBDAS.items()]]
SEMEDA_TABLES_4_TO_6 = [
    (f'{model}_{rest}', f'{model}-semeda-{BEST[classes]}_{rest}',
     semeda(classes, LAMBDAS[BEST[classes]]))
    for model, classes, rest in [
        ('deeplabv2', 19, 'r101-d8_1xb6-40k_cityscapes-321x321'),
        ('deeplabv2', 21, 'r101-d8_1xb6-40k_voc12aug-321x321'),
        ('deeplabv2', 19, 'r101-coco-d8_1xb6-40k_cityscapes-321x321'),
        ('deeplabv2', 21, 'r101-coco-d8_1xb6-40k_voc12aug-321x321'),
        ('deeplabv3plus', 19, 'r101-d16_1xb2-40k_cityscapes-321x321'),
        ('deeplabv3plus', 21, 'r101-d16_1xb4-40k_voc12aug-321x321'),
        ('deeplabv3plus', 11, 'x71-d16_1xb6-20k_helen-321x321'),
        ('deeplabv3plus', 6, 'x71-d16_1xb6-20k_fasseg-321x321')]]
SEMEDA_ON_A_CPU = [
    (f'deeplabv3plus_{rest}', f'deeplabv3plus-{name}_{rest}', loss)
    for name, rest, loss in [
        ('sobel', 'r18-w32-d16_1xb8-800_camvid-180x240', sobel(4)),
        ('semeda', 'r18-w32-d16_1xb8-800_camvid-180x240', semeda(11, (4, 2, 0))),
        ('semeda', 'r18-w32-d16_1xb4-800_fasseg-256x256', semeda(6, (2, 4, 0)))]]
EDGES = sorted((CONFIGS / 'semeda').glob('edges_*.py'))

read_once = functools.lru_cache(maxsize=None)(Config.fromfile)


@pytest.fixture(autouse=True, scope='module')
def read_the_model_index_once():
    """mmengine parses the 50 files of mmseg's index for each 'mmseg::' that it meets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load',
                      functools.lru_cache(maxsize=None)(mmengine.config.utils.load))
        yield


def read(path):
    """Read a config; several tests read all of them."""
    return copy.deepcopy(read_once(path))


def read_bootstrapping(name):
    return read(CONFIGS / f'bootstrapping/{name}.py')


def narrow(cfg):
    """Keep what a config composes, with fewer channels: the tests need not train a VGG-16."""
    width = 4
    if cfg.model.type == 'SemanticEdgeDetector':  # small as it is
        return cfg
    model, backbone, head = cfg.model, cfg.model.backbone, cfg.model.decode_head
    if backbone.type == 'VGG':
        backbone.base_channels = width
        maps = [width * (1, 2, 4, 8, 8, 8)[i] for i in backbone.get('out_indices', range(6))]
        several = isinstance(head.in_channels, (list, tuple))
        head.in_channels = maps if several else maps[0]
        if 'out_indices' in backbone:  # for a head with fully connected layers
            head.channels = width
            if isinstance(head.loss_decode.get('class_weight'), str):  # a file made from the data
                head.loss_decode.class_weight = [1.] * head.num_classes
    else:
        if backbone.type == 'Xception':
            backbone.base_channels = width // 2
        else:  # a ResNet
            backbone.update(base_channels=width, stem_channels=width)
        top_channels = width * (8 if backbone.depth < 50 else 32)
        heads = [(head, top_channels)]
        if model.get('auxiliary_head'):
            heads.append((model.auxiliary_head, top_channels // 2))
        for one, channels in heads:
            one.in_channels = channels
            few = dict(channels=width, hidden_channels=width, c1_channels=width,
                       c1_in_channels=top_channels // 8)
            one.update({key: value for key, value in few.items() if key in one})
        model.data_preprocessor.size = (40, 56)
    model.pretrained = None
    backbone.init_cfg = None
    return cfg


def test_there_are_configs():
    assert len(LEAVES) > 10


@pytest.mark.filterwarnings('ignore:SEMEDALoss compares features of a network')
@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_builds_and_learns_and_predicts(path):
    cfg = narrow(read(path))
    model = revert_sync_batchnorm(MODELS.build(cfg.model))  # SyncBN needs a GPU
    num_classes = cfg.model.get('decode_head', cfg.model.get('edge_net')).num_classes
    label = torch.randint(0, num_classes, (1, 40, 56))
    label[:, :8] = 255
    cells = torch.arange(40 * 56, dtype=torch.int32).view(40, 56) // 560  # four, of ten rows
    indptr, indices = torch.tensor([0, 1, 3, 4, 8]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    meta = dict(img_shape=(40, 56), ori_shape=(40, 56), pad_shape=(40, 56),
                regions=RegionSet(cells, indptr, indices))
    batch = dict(
        inputs=[torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8) for _ in range(2)],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=dict(meta)) for _ in range(2)
        ])
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    assert torch.isfinite(total) and total > 0
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None for p in trained)
    model.eval()
    with torch.no_grad():
        results = model.test_step(batch)
    assert results[0].pred_sem_seg.data.shape == (1, 40, 56)


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_trains_evaluates_and_saves(path):
    cfg = read(path)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator',
                'test_evaluator', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg.get(key), key
        if key.endswith('dataloader'):
            Compose(cfg[key].dataset.get('pipeline', []))
    assert 'mmseg_ext' in cfg.custom_imports['imports']
    length = cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs
    assert cfg.default_hooks.checkpoint.interval <= length
    by_epoch = cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.default_hooks.checkpoint.get('by_epoch', True) == by_epoch
    assert cfg.log_processor.by_epoch == by_epoch


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: p.stem)
def test_a_config_is_a_delta_on_a_base(path):
    assert path.read_text().count('\n') <= 40
    assert '_base_' in path.read_text()


def test_lrn_on_camvid_has_the_papers_settings():
    cfg = read(CONFIGS / 'lrn/lrn_vgg16bn_1xb10-80k_camvid-360x480.py')
    assert cfg.train_dataloader.batch_size == 10
    assert cfg.train_cfg.max_iters == 80000
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (1e-3, .9, 5e-4)
    loss = cfg.model.decode_head.loss_decode
    assert loss.normalization == 'pixels'
    assert loss.class_weight[8:] == [.724619798, 5.855012981, 8.136508447]


@pytest.mark.parametrize('data, row', [('voc12aug', row) for row in TABLE_1]
                         + [('cityscapes', row) for row in TABLE_3])
def test_each_row_of_the_fcrn_tables_is_a_config(data, row):
    depth, stride, kernel, dilation, field_of_view = row
    cfg = read_bootstrapping(
        f'fcrn-k{kernel}d{dilation}_r{depth}-d{stride}_1xb16-204e_{data}-504x504')
    backbone, head = cfg.model.backbone, cfg.model.decode_head
    assert (backbone.depth, backbone.output_stride) == (depth, stride)
    assert backbone.init_cfg.checkpoint == f'torchvision://resnet{depth}'
    assert (head.kernel_size, head.dilation, head.label_stride) == (kernel, dilation, stride)
    assert (head.dilation * (head.kernel_size - 1) + 1) * stride == field_of_view
    assert head.loss_decode == dict(type='CrossEntropyLoss', avg_non_ignore=True)
    assert (len(TABLE_1), len(TABLE_3)) == (14, 23)


@pytest.mark.parametrize('kept', [256, 512, 1024])
@pytest.mark.parametrize('depth, data', [(101, 'voc12aug'), (152, 'cityscapes'),
                                         (101, 'pascal-context')])
def test_bootstrapping_keeps_points_of_each_image(depth, data, kept):
    """And changes nothing else in the row of the table that it starts from."""
    plain, ours = (
        read_bootstrapping(f'fcrn-k5d12{rule}_r{depth}-d8_1xb16-204e_{data}-504x504')
        for rule in ('', f'-bs{kept}'))
    assert ours.model.decode_head.pop('loss_decode') == dict(
        type='BootstrappedCrossEntropyLoss', thresh=None, min_kept=kept, per_image=True)
    del plain.model.decode_head.loss_decode
    assert ours.to_dict() == plain.to_dict()


@pytest.mark.parametrize('pair, key', [(CAMVID_PAIR, 'loss_decode'), (PSPNET_PAIR, 'sampler')])
def test_a_pair_differs_in_the_bootstrapping_alone(pair, key):
    plain, ours = (read_bootstrapping(name) for name in pair)
    assert ours.model.decode_head.pop(key).type.startswith('Bootstrap')
    plain.model.decode_head.pop(key, None)
    ours.pop(key, None)  # the name that the config gives it
    # what it shows is not what it trains
    ours.default_hooks.visualization = plain.default_hooks.visualization
    assert ours.to_dict() == plain.to_dict()


def test_the_shares_of_pixels_are_what_the_comments_say():
    pspnet = read_bootstrapping(PSPNET_PAIR[1]).model
    height, width = pspnet.data_preprocessor.size
    assert pspnet.decode_head.sampler.min_kept == round(512 / 63**2 * height * width)
    camvid = read_bootstrapping(CAMVID_PAIR[1])
    kept = camvid.model.decode_head.loss_decode.min_kept
    assert kept == camvid.train_dataloader.batch_size * 180 * 240 // 10


def test_fcrn_on_cityscapes_has_the_recipe_of_the_release():
    cfg = read_bootstrapping('fcrn-k5d12-bs256-t06_r152-d8_1xb16-204e_cityscapes-504x504')
    assert cfg.train_dataloader.batch_size == 16
    transforms = {t.type: t for t in cfg.train_dataloader.dataset.pipeline}
    assert transforms['RandomCrop'].crop_size == (504, 504)
    assert transforms['RandomResize'].ratio_range == (0.7, 1.3)
    loss = cfg.model.decode_head.loss_decode
    assert (loss.thresh, loss.min_kept, loss.per_image) == (0.6, 256, False)

    model = MODELS.build(narrow(cfg).model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {id(g['params'][0]): (g['lr'], g['weight_decay']) for g in optimizer.param_groups}
    assert groups[id(model.decode_head.conv_seg.bias)] == (3.2e-3, 0)
    assert groups[id(model.decode_head.conv_seg.weight)] == (1.6e-3, 5e-4)
    assert groups[id(model.backbone.conv1.weight)] == (1.6e-3, 5e-4)
    (schedule, ) = [PARAM_SCHEDULERS.build(s, default_args=dict(
        optimizer=optimizer, epoch_length=2)) for s in cfg.param_scheduler]
    rates = []
    for _ in range(2 * cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    assert set(rates[:280]) == {rates[0]}
    np.testing.assert_allclose(np.array(rates[280:]) / rates[0], np.linspace(.5, 0, 128),
                               atol=1e-6)


@pytest.mark.parametrize('name', [
    'fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504', CAMVID_PAIR[0]])
def test_flips_and_scales_are_averaged_at_test(name, tmp_path):
    cfg = narrow(read_bootstrapping(name))
    launch.enable_tta(cfg)
    cv2.imwrite(str(tmp_path / 'image.png'), np.random.randint(0, 256, (50, 70, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'label.png'), np.zeros((50, 70), np.uint8))
    views = Compose(cfg.test_dataloader.dataset.pipeline)(dict(
        img_path=str(tmp_path / 'image.png'), seg_map_path=str(tmp_path / 'label.png'),
        reduce_zero_label=False, seg_fields=[]))
    assert len({tuple(image.shape) for image in views['inputs']}) == 3
    assert [sample.flip for sample in views['data_samples']].count(True) == 3
    assert len(views['inputs']) == 6
    model = MODELS.build(cfg.model)
    model.eval()
    with torch.no_grad():
        (result, ) = model.test_step(pseudo_collate([views]))
    assert result.pred_sem_seg.data.shape[-2:] == (50, 70)
    assert result.gt_sem_seg.data.shape[-2:] == (50, 70)


def test_a_cell_is_as_many_pixels_at_test_as_in_training():
    """ResNet rounds 100x75 pixels up to 13x10 cells, which must not be squeezed into that size."""
    model = MODELS.build(
        narrow(read_bootstrapping('fcrn-k5d12_r101-d8_1xb16-204e_voc12aug-504x504')).model)
    model.eval()
    sizes = []
    model.backbone.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[2:]))
    model.decode_head.conv_seg.register_forward_hook(
        lambda _, __, logits: sizes.append(logits.shape[2:]))
    sample = SegDataSample(metainfo=dict(img_shape=(100, 75), ori_shape=(100, 75)))
    with torch.no_grad():
        (result, ) = model.test_step(
            dict(inputs=[torch.zeros(3, 100, 75, dtype=torch.uint8)], data_samples=[sample]))
    pixels, cells = sizes
    assert tuple(pixels) == tuple(8 * side for side in cells)
    assert result.pred_sem_seg.data.shape == (1, 100, 75)


@pytest.mark.parametrize('row, change', [
    ('box', dict(features='box')), ('freeform', dict(features='region')),
    ('tied', dict(features='tied')), ('softmax-first', dict(softmax_first=True))])
def test_a_row_of_the_region_paper_changes_one_thing_in_the_head(row, change):
    ours, row = (read(CONFIGS / f'regions/region-balanced{name}_vgg16_1xb10-30e_siftflow-600.py')
                 for name in ('', f'-{row}'))
    ours.model.decode_head.update(change)
    assert row.to_dict() == ours.to_dict()


@pytest.mark.parametrize('row, place, change', [
    ('rectangular', -1, dict(rectangular=True)), ('single-scale', 2, dict(overlapping=False))])
def test_a_row_of_the_region_paper_changes_the_regions_in_training_and_at_test(row, place, change):
    ours, row = (read(CONFIGS / f'regions/region-balanced{name}_vgg16_1xb10-30e_siftflow-600.py')
                 for name in ('', f'-{row}'))
    for key in ('train', 'val', 'test'):
        pipeline = ours[f'{key}_dataloader'].dataset.pipeline
        pipeline[place if place < 0 or key == 'train' else 1].update(change)
        assert row[f'{key}_dataloader'] == ours[f'{key}_dataloader']


@pytest.mark.parametrize(
    'path', [p for p in LEAVES if 'region' in p.stem and 'scenes' not in p.stem],
    ids=lambda p: p.stem)
def test_flips_at_test_have_the_regions_of_the_test(path):
    cfg = read(path)
    load, regions, views = cfg.tta_pipeline
    resize, flips, annotations, pack = views.transforms
    assert [load, regions, *resize, *annotations, *pack] == cfg.test_dataloader.dataset.pipeline
    assert [flip.prob for flip in flips] == [0, 1]


def test_regions_on_sift_flow_have_the_papers_settings():
    cfg = read(CONFIGS / 'regions/region-balanced_vgg16_1xb10-30e_siftflow-600.py')
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (10, 30)
    assert cfg.param_scheduler == [
        dict(type='MultiStepLR', milestones=[20], gamma=.1, by_epoch=True)]
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (1e-3, .9, 5e-4)
    pipelines = {key: {t.type: t for t in cfg[f'{key}_dataloader'].dataset.pipeline}
                 for key in ('train', 'test')}
    for key, transforms in pipelines.items():
        assert transforms['Resize'] == dict(type='Resize', scale=(600, 600), keep_ratio=True)
        load = transforms['LoadRegions']
        assert (load.scale, load.min_size) == (100, 100)
        assert load.get('colour_space', 'rgb') == ('random' if key == 'train' else 'rgb')
        assert transforms['PackRegionInputs'].get('gt_regions', False) == (key == 'train')
    head = MODELS.build(narrow(cfg).model).decode_head
    assert (head.features, head.softmax_first, head.region_loss) == ('separate', False, False)
    assert head.losses[0].per_image


def test_the_baseline_of_the_region_paper_differs_in_the_head_alone():
    ours, baseline = (read(CONFIGS / f'regions/region-{name}_vgg16_1xb10-30e_siftflow-600.py')
                      for name in ('box', 'baseline'))
    ours.model.decode_head.update(region_loss=True, softmax_first=True)
    ours.model.decode_head.loss_decode.per_image = False  # R of Eq. 2 counts all regions
    assert baseline.to_dict() == ours.to_dict()


@pytest.mark.parametrize('data', ['siftflow', 'pascal-context'])
def test_fcn16s_differs_from_the_regions_in_the_model_and_needs_no_regions(data):
    ours, fcn = (read(CONFIGS / f'regions/{name}_vgg16_1xb10-30e_{data}-600.py')
                 for name in ('region', 'fcn16s'))
    for key in ('train', 'val', 'test'):
        loader, other = ours[f'{key}_dataloader'], fcn[f'{key}_dataloader']
        with_regions, without = loader.dataset.pop('pipeline'), other.dataset.pop('pipeline')
        assert without == [t for t in with_regions[:-1] if t.type != 'LoadRegions'] + [
            dict(type='PackSegInputs')]
        assert other == loader
    load, views = fcn.tta_pipeline
    resize, flips, annotations, pack = views.transforms
    assert [load, *resize, *annotations, *pack] == without
    assert [flip.prob for flip in flips] == [0, 1]
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_evaluator',
                'test_evaluator'):
        assert fcn[key] == ours[key]
    model, head = fcn.model, fcn.model.decode_head
    assert head.loss_decode == ours.model.decode_head.loss_decode
    assert head.num_classes == ours.model.decode_head.num_classes
    assert model.backbone.pop('out_indices') == (3, 5)
    del ours.model.backbone.out_indices
    assert model.backbone == ours.model.backbone
    assert head.init_cfg == dict(type='Pretrained', checkpoint='torchvision://vgg16')


@pytest.mark.parametrize('plain, name, loss',
                         SEMEDA_TABLE_1 + SEMEDA_TABLES_4_TO_6 + SEMEDA_ON_A_CPU,
                         ids=lambda value: value if isinstance(value, str) else '')
def test_a_row_of_the_semeda_paper_differs_from_cross_entropy_in_the_loss_alone(plain, name, loss):
    assert (len(SEMEDA_TABLE_1), len(SEMEDA_TABLES_4_TO_6)) == (24, 8)
    plain, ours = (read(CONFIGS / f'semeda/{name}.py') for name in (plain, name))
    assert ours.model.decode_head.pop('loss_decode') == [dict(type='CrossEntropyLoss'), loss]
    assert plain.model.decode_head.pop('loss_decode').type == 'CrossEntropyLoss'
    assert ours.to_dict() == plain.to_dict()


def test_the_tables_of_the_semeda_paper_are_all_its_configs():
    names = {name for row in SEMEDA_TABLE_1 + SEMEDA_TABLES_4_TO_6 + SEMEDA_ON_A_CPU
             for name in row[:2]}
    others = {path.stem for path in (CONFIGS / 'semeda').glob('*.py')} - names
    assert others == {path.stem for path in EDGES} | {
        'lrn-bs34560-t06-semeda_vgg16bn-w16_1xb8-1200_camvid-180x240',
        'pspnet-semeda-4-2-0_r50-d8_4xb2-40k_cityscapes-512x1024'}


@pytest.mark.parametrize('name, batch_size, iterations', [
    *[(plain, int(plain.split('xb')[1][0]), 40000) for plain in (
        'deeplabv2_r101-d8_1xb6-40k_cityscapes-321x321',
        'deeplabv2_r101-d8_1xb6-40k_voc12aug-321x321',
        'deeplabv3plus_r101-d16_1xb2-40k_cityscapes-321x321',
        'deeplabv3plus_x71-d16_1xb4-40k_voc12aug-321x321')],
    ('deeplabv3plus_x71-d16_1xb6-20k_helen-321x321', 6, 20000)])
def test_the_semeda_configs_have_the_papers_settings(name, batch_size, iterations):
    cfg = read(CONFIGS / f'semeda/{name}.py')
    assert cfg.train_dataloader.batch_size == batch_size
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[0].end == iterations
    assert cfg.optim_wrapper.optimizer.lr == 5e-4
    assert cfg.model.auxiliary_head is None
    dataset = cfg.train_dataloader.dataset
    for part in dataset.get('datasets', [dataset]):
        transforms = {t.type: t for t in part.pipeline}
        assert transforms['RandomCrop'].crop_size == (321, 321)
        assert {'RandomResize', 'RandomFlip'} <= set(transforms)
    model = MODELS.build(narrow(cfg).model).train()
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(m.training or m.weight.requires_grad for m in norms)


def test_semeda_is_three_lines_over_a_config_of_mmseg(tmp_path):
    """The line of custom imports, the line of the hook, the list of losses; nothing else."""
    ours = read(CONFIGS / 'semeda/pspnet-semeda-4-2-0_r50-d8_4xb2-40k_cityscapes-512x1024.py')
    assert ours.pop('custom_imports').imports == ['mmseg_ext']
    assert ours.pop('custom_hooks') == [dict(type='SemanticEdgeNetHook')]
    assert ours.model.decode_head.pop('loss_decode') == [
        dict(type='CrossEntropyLoss'), semeda(19, (4, 2, 0))]
    (tmp_path / 'plain.py').write_text(
        "_base_ = 'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'")
    mmsegs = read(tmp_path / 'plain.py')
    del mmsegs.model.decode_head.loss_decode
    assert ours.to_dict() == mmsegs.to_dict()


@pytest.mark.parametrize('path', EDGES, ids=lambda p: p.stem)
def test_an_edge_network_is_trained_and_tested_on_label_maps_alone(path):
    cfg = read(path)
    for key in ('train', 'val', 'test'):
        dataset = cfg[f'{key}_dataloader'].dataset
        for part in dataset.get('datasets', [dataset]):
            assert part.pipeline == [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    assert cfg.val_evaluator == cfg.test_evaluator == dict(type='SemanticEdgeMetric')
    users = {read(CONFIGS / f'semeda/{name}.py').model.decode_head.num_classes
             for _, name, _ in SEMEDA_TABLE_1 + SEMEDA_TABLES_4_TO_6 + SEMEDA_ON_A_CPU
             if f'_{path.stem.split("_")[-1]}-' in name}
    assert users == {cfg.model.edge_net.num_classes}


@pytest.mark.parametrize('name, count', [('camvid', 11), ('camvid_segnet_published', 11),
                                         ('labelmefacade', 8), ('sunrgbd_segnet_published', 37)])
def test_class_weights_are_there_for_each_class(name, count):
    table = json.loads((CONFIGS / f'_base_/class_weights/{name}.json').read_text())
    table = table[f'{name}_class_weights']
    assert len(table['median_frequency']) == len(table['classes']) == count
    assert min(table['median_frequency']) > 0


@pytest.mark.parametrize('base', ['path', 'mmseg_ext::'])
def test_another_project_inherits_a_config_in_one_line(base, tmp_path):
    """By a path, or by package name where mmseg_ext is imported first, as tools/train.py does."""
    name = 'lrn/lrn_vgg16bn-w16_1xb8-1200_camvid-180x240.py'
    target = str(CONFIGS / name) if base == 'path' else base + name
    (tmp_path / 'mine.py').write_text(
        f"_base_ = {target!r}\nmodel = dict(decode_head=dict(supervision='logits'))\n")
    code = ("import mmseg_ext; from mmengine import Config; from mmseg.registry import MODELS\n"
            "from mmengine.registry import init_default_scope; init_default_scope('mmseg')\n"
            "cfg = Config.fromfile('mine.py')\n"
            "print(MODELS.build(cfg.model).decode_head.supervision, cfg.train_cfg.max_iters)")
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path,
                         capture_output=True, text=True)
    assert run.stdout.split()[-2:] == ['logits', '1200'], run.stderr
