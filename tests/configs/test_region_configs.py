"""The settings of the region method, as its paper, Fast R-CNN and the released code state them."""
from pathlib import Path

import pytest
import torch.nn as nn
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'configs/regions'
LEAVES = sorted(CONFIGS.glob('*.py'))
PAPER = [path.stem for path in LEAVES if '_vgg16_1xb10-30e_' in path.stem]
REGIONS = [name for name in PAPER if name.startswith('region')]
VGG16 = dict(type='Pretrained', checkpoint='torchvision://vgg16')

# Place in the paper, setting, value.
TRAINING = [
    ('Sec. 4.1; Fast R-CNN', 'optim_wrapper', dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.001, momentum=0.9, weight_decay=0.0005),
        paramwise_cfg=dict(bias_lr_mult=2., bias_decay_mult=0.))),
    ('Sec. 4.1, 20 + 10 epochs', 'train_cfg.max_epochs', 30),
    ('Sec. 4.1', 'train_cfg.type', 'EpochBasedTrainLoop'),
    ('Sec. 4.1, 1e-4 from epoch 20 on', 'param_scheduler',
     [dict(type='MultiStepLR', milestones=[20], gamma=0.1, by_epoch=True)]),
    ('released code', 'train_dataloader.batch_size', 10),
    ('Sec. 4.1', 'model.backbone.type', 'VGG'),
    ('Sec. 4.1', 'model.backbone.depth', 16),
    ('Sec. 4.1, no norm layers', 'model.backbone.norm_cfg', '(not set)'),
    ('Sec. 4.1, ILSVRC', 'model.backbone.init_cfg', VGG16),
    ('Sec. 3.4', 'model.decode_head.loss_decode.type', 'ClassWeightedCrossEntropyLoss'),
    ('Sec. 4.3', 'val_evaluator.TrimapMetric.widths', (4, )),
    ('Sec. 4.3', 'test_evaluator.TrimapMetric.widths', (4, )),
    *[row for key in ('train', 'val', 'test') for row in (
        ('released code', f'{key}_dataloader.dataset.pipeline.Resize',
         dict(type='Resize', scale=(600, 600), keep_ratio=True)),
        ('released code', f'{key}_dataloader.dataset.pipeline.RandomCrop', '(not set)'),
        ('released code', f'{key}_dataloader.dataset.pipeline.RandomFlip.prob',
         0.5 if key == 'train' else '(not set)'))],
]
REGION_HEAD = [
    ('Sec. 4.1, up to conv5', 'model.backbone.out_indices', (4, )),
    ('Sec. 3.3', 'model.decode_head.type', 'RegionHead'),
    ('Fast R-CNN, 7 x 7', 'model.decode_head.roi_layer.output_size', 7),
    ('Fast R-CNN', 'model.decode_head.channels', 4096),
    ('Sec. 4.1; Fast R-CNN', 'model.decode_head.init_cfg',
     [dict(type='Normal', layer='Linear', std=0.01), VGG16]),
    *[row for key, colours, with_truth in (('train', 'random', True), ('val', '(not set)', False),
                                           ('test', '(not set)', False)) for row in (
        ('Sec. 4.1', f'{key}_dataloader.dataset.pipeline.LoadRegions.colour_space', colours),
        ('Sec. 4.1', f'{key}_dataloader.dataset.pipeline.PackRegionInputs.gt_regions',
         True if with_truth else '(not set)'))],
]
FCN = [
    ('Table 3', 'model.decode_head.type', 'FCN16sHead'),
    ('FCN', 'model.decode_head.channels', 4096),
    ('FCN, pool4 and pool5', 'model.backbone.out_indices', (3, 5)),
    ('FCN', 'model.decode_head.init_cfg', VGG16),
]


def data(kind, classes, min_size, **splits):
    """Settings of a data set; of the regions those that FCN has none of."""
    rows = [('Sec. 4.1', 'model.decode_head.num_classes', classes)]
    for key in ('train', 'val', 'test'):
        where = splits['train'] if key == 'train' else splits['test']
        rows += [('Sec. 4.1', f'{key}_dataloader.dataset.type', kind)]
        rows += [('Sec. 4.1', f'{key}_dataloader.dataset.{name}', value)
                 for name, value in where.items()]
    regions = [
        ('Sec. 4.1', f'{key}_dataloader.dataset.pipeline.LoadRegions.{name}', min_size)
        for key in ('train', 'val', 'test') for name in ('scale', 'min_size')]
    return rows, regions


LISTS = 'ImageSets/SegmentationContext'
DATA = {
    'siftflow-600': data('SIFTFlowDataset', 33, 100, train=dict(split='train'),
                         test=dict(split='test')),
    # The validation images exclusively for testing.
    'pascal-context-600': data('PascalContextDataset', 60, 400,
                               train=dict(ann_file=f'{LISTS}/train.txt'),
                               test=dict(ann_file=f'{LISTS}/val.txt')),
    # Not in the paper: as PASCAL-Context, whose images are as large.
    'labelme-facade-600': data('LabelMeFacadeDataset', 8, 400, train=dict(split='train'),
                               test=dict(split='val')),
}
# Of LabelMeFacade's 100 training images: mean number of pixels of a class / that of the class.
INVERSE = [0.255362156, 2.981754995, 16.212334688, 2.432093872, 0.794438248, 0.919890834,
           1.598039166, 3.287670287]
BALANCED = {'siftflow-600': 'data/class_weights/siftflow.json',
            'pascal-context-600': 'data/class_weights/pascal_context.json',
            'labelme-facade-600': INVERSE}


def data_of(name):
    return name.rpartition('_')[2]


@pytest.mark.parametrize('name', PAPER)
def test_a_config_has_the_papers_settings(name, read, pinned):
    common, regions = DATA[data_of(name)]
    own = [*REGION_HEAD, *regions] if name in REGIONS else FCN
    balanced = '-balanced' in name
    pinned(read(f'regions/{name}'), TRAINING, common, own, [
        ('Sec. 3.4', 'model.decode_head.loss_decode.class_weight',
         BALANCED[data_of(name)] if balanced else '(not set)'),
        ('Sec. 3.4, sum 1 in each image', 'model.decode_head.loss_decode.per_image',
         'baseline' not in name),
        ('Sec. 3.4', 'model.decode_head.loss_decode.normalization', '(not set)')])


def test_the_counted_weights_are_inverse_frequencies():
    """As tools/class_frequencies.py has them, Sec. 3.4: 1 / P_c, up to a factor."""
    pixels = [5544691, 474856, 87335, 582175, 1782271, 1539209, 886026, 430671]
    assert [sum(pixels) / 8 / count for count in pixels] == pytest.approx(INVERSE)


@pytest.mark.parametrize('name', [
    'region-balanced_vgg16_1xb10-30e_siftflow-600', 'region_vgg16_1xb10-30e_pascal-context-600',
    'region-balanced-tied_vgg16_1xb10-30e_siftflow-600',
    'region_vgg16_1xb10-30e_labelme-facade-600', 'fcn16s_vgg16_1xb10-30e_siftflow-600'])
def test_a_head_has_dropout_and_the_biases_learn_twice_as_fast(name, read, narrow):
    cfg = narrow(read(f'regions/{name}'))
    model = MODELS.build(cfg.model)
    rates = {m.p for m in model.modules() if isinstance(m, (nn.Dropout, nn.Dropout2d))}
    assert rates == {0.5}  # Fast R-CNN, and VGG before it: behind fc6 and fc7
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {id(g['params'][0]): (g['lr'], g['weight_decay']) for g in optimizer.param_groups}
    for key, value in model.named_parameters():
        expected = (2e-3, 0) if key.endswith('.bias') else (1e-3, 5e-4)
        assert groups[id(value)] == expected, key


def test_regions_on_sift_flow_are_region_and_box_with_separate_weights(read, narrow):
    cfg = read('regions/region-balanced_vgg16_1xb10-30e_siftflow-600')
    head = MODELS.build(narrow(cfg).model).decode_head
    assert (head.features, head.softmax_first, head.region_loss) == ('separate', False, False)
    assert head.loss_decode.per_image


@pytest.mark.parametrize('row, change', [
    ('box', dict(features='box')), ('freeform', dict(features='region')),
    ('tied', dict(features='tied')), ('softmax-first', dict(softmax_first=True))])
def test_a_row_of_the_paper_changes_one_thing_in_the_head(row, change, read):
    ours, row = (read(f'regions/region-balanced{name}_vgg16_1xb10-30e_siftflow-600')
                 for name in ('', f'-{row}'))
    ours.model.decode_head.update(change)
    assert row.to_dict() == ours.to_dict()


@pytest.mark.parametrize('row, transform, change', [
    ('rectangular', 'PackRegionInputs', dict(rectangular=True)),
    ('single-scale', 'LoadRegions', dict(overlapping=False))])
def test_a_row_of_the_paper_changes_the_regions_in_training_and_at_test(row, transform, change,
                                                                        read):
    ours, row = (read(f'regions/region-balanced{name}_vgg16_1xb10-30e_siftflow-600')
                 for name in ('', f'-{row}'))
    for key in ('train', 'val', 'test'):
        (one, ) = (t for t in ours[f'{key}_dataloader'].dataset.pipeline if t.type == transform)
        one.update(change)
        assert row[f'{key}_dataloader'] == ours[f'{key}_dataloader']


@pytest.mark.parametrize(
    'path', [p for p in LEAVES if 'region' in p.stem and 'scenes' not in p.stem],
    ids=lambda p: p.stem)
def test_flips_at_test_have_the_regions_of_the_test(path, read):
    cfg = read(path)
    load, regions, views = cfg.tta_pipeline
    resize, flips, annotations, pack = views.transforms
    assert [load, regions, *resize, *annotations, *pack] == cfg.test_dataloader.dataset.pipeline
    assert [flip.prob for flip in flips] == [0, 1]


def test_the_baseline_of_the_paper_differs_in_the_head_alone(read):
    ours, baseline = (read(f'regions/region-{name}_vgg16_1xb10-30e_siftflow-600')
                      for name in ('box', 'baseline'))
    ours.model.decode_head.update(region_loss=True, softmax_first=True)
    ours.model.decode_head.loss_decode.per_image = False  # R of Eq. 2 counts all regions
    assert baseline.to_dict() == ours.to_dict()


@pytest.mark.parametrize('name', ['siftflow', 'pascal-context'])
def test_fcn16s_differs_from_the_regions_in_the_model_and_needs_no_regions(name, read):
    ours, fcn = (read(f'regions/{method}_vgg16_1xb10-30e_{name}-600')
                 for method in ('region', 'fcn16s'))
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
    head = fcn.model.decode_head
    assert head.loss_decode == ours.model.decode_head.loss_decode
    assert head.num_classes == ours.model.decode_head.num_classes
    del fcn.model.backbone.out_indices, ours.model.backbone.out_indices
    assert fcn.model.backbone == ours.model.backbone
