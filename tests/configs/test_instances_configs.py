"""The settings of instances from pixels, as the paper states them; what it leaves open is ours."""
import pytest

T = '1xb16-204e_sbd-504x504'
V = 'lite0_1xb8-800_voc-instances-256x256'
# Table 6: name, depth, sampler, weights; mAP^r at 0.5, 0.7 and volume
TABLE_6 = [('', 50, False, False, '57.2 mAPr 50, 40.5 mAPr 70, 52.5 mAPr vol'),
           ('-bs512', 50, True, False, '58.7 mAPr 50, 42.0 mAPr 70, 53.8 mAPr vol'),
           ('-bs512-weighted', 50, True, True, '59.8 mAPr 50, 43.5 mAPr 70, 54.7 mAPr vol'),
           ('-bs512-weighted', 101, True, True, '60.9 mAPr 50, 44.6 mAPr 70, 55.5 mAPr vol')]
SAMPLER = dict(type='IoUBootstrapSampler', thresh=0.7, min_kept=512)
METRICS = [dict(type='RegionAPMetric', protocol='sds'),
           dict(type='RegionAPMetric', protocol='mnc', prefix='mnc')]
DATA = [
    (f'Sec. 3.2, {count}', f'{split}_dataloader.dataset.{key}', value)
    for split, name, count in (('train', 'train', '5,623'), ('val', 'val', '5,732'),
                               ('test', 'val', '5,732'))
    for key, value in (('type', 'PascalVOCInstanceDataset'), ('split', name))]
COMMON = [
    *DATA,
    ('release of the next network', 'optim_wrapper.optimizer',
     dict(type='SGD', lr=0.0016, momentum=0.9, weight_decay=0.0005)),
    ('release of the next network', 'train_cfg.max_epochs', 204),
    ('release of the next network', 'train_dataloader.batch_size', 16),
    ('release of the next network', 'train_dataloader.dataset.pipeline.RandomCrop.crop_size',
     (504, 504)),
    ('moves the instances', 'train_dataloader.dataset.pipeline.RandomResize.resize_type',
     'mmseg.Resize'),
    ('Sec. 3.1, images as they are', 'test_dataloader.dataset.pipeline.Resize', '(not set)'),
]


def fcrn(place, depth):
    return [('Sec. 2.3', f'{place}.backbone.type', 'FCRN'),
            ('row', f'{place}.backbone.depth', depth),
            ('row', f'{place}.backbone.init_cfg.checkpoint', f'torchvision://resnet{depth}'),
            ('Sec. 3.1, the best', f'{place}.backbone.output_stride', 8),
            ('Sec. 3.1, the best', f'{place}.decode_head.kernel_size', 5),
            ('Sec. 3.1, the best', f'{place}.decode_head.dilation', 12),
            ('the grid', f'{place}.decode_head.label_stride', 8),
            ('the crop', f'{place}.data_preprocessor.size', (504, 504)),
            ('20 classes and background', f'{place}.decode_head.num_classes', 21)]


@pytest.mark.parametrize('name, depth, hard, weighted, numbers', TABLE_6)
def test_each_row_of_table_6_is_a_config(name, depth, hard, weighted, numbers, read, pinned):
    cfg = read(f'instances/instances-k5d12{name}_r{depth}-d8_{T}')
    head = 'model.localization.decode_head'
    pinned(cfg, COMMON, fcrn('model.localization', depth), fcrn('model.semantic', depth), [
        ('Sec. 2.3', f'{head}.type', 'LocalizationHead'),
        ('Sec. 2.3, not for background', f'{head}.background', '(not set)'),
        ('row', f'{head}.sampler', SAMPLER if hard else '(not set)'),
        ('row', f'{head}.loss_decode', dict(type='LocalizationLoss', size_weight=weighted)),
        ('Table 7, the best', 'model.semantic.decode_head.loss_decode', dict(
            type='BootstrappedCrossEntropyLoss', thresh=None, min_kept=512, per_image=True)),
        ('Table 6', 'test_evaluator', [*METRICS, dict(type='IoUMetric', iou_metrics=['mIoU'])])])
    assert f'# Paper: {numbers}\n' in open(cfg.filename).read()


JOINT = [*((f'instances-k5d12{name}_r{depth}-d8_{T}', f'localization-k5d12{name}_r{depth}-d8_{T}',
            f'fcrn-k5d12-bs512_r{depth}-d8_{T}', 'epoch_204') for name, depth, *_ in TABLE_6),
         *((f'instances{name}_{V}', f'localization{name}_{V}', f'fpn_{V}', 'iter_800')
           for name in ('', '-bs512', '-weighted', '-bs512-weighted')),
         *((f'instances_{S}', f'localization_{S}', f'fcn_{S}', 'iter_800')
           for S in ('vgg11bn-w16_1xb4-800_scenes-128x128', ))]


@pytest.mark.parametrize('joint, localization, semantic, checkpoint', JOINT)
def test_a_joint_config_has_the_two_networks_that_are_trained(
        joint, localization, semantic, checkpoint, read):
    joint, localization = (read(f'instances/{name}') for name in (joint, localization))
    found = joint.model.pop('semantic').to_dict()
    assert found.pop('init_cfg') == dict(
        type='Pretrained', checkpoint=f'work_dirs/{semantic}/{checkpoint}.pth')
    semantic = read(f'instances/{semantic}')
    assert semantic.model.to_dict() == found
    assert joint.model == localization.model and 'semantic' not in localization.model
    for key in ('train_dataloader', 'test_dataloader'):
        assert semantic[key] == joint[key] == localization[key]
    assert semantic.test_evaluator[0].type == 'IoUMetric'
    assert list(localization.test_evaluator) == METRICS


@pytest.mark.parametrize('name, hard, weighted', [
    ('', False, False), ('-bs512', True, False), ('-weighted', False, True),
    ('-bs512-weighted', True, True)])
def test_the_small_localization_networks_differ_in_what_their_names_say(
        name, hard, weighted, read):
    plain, ours = (read(f'instances/localization{which}_{V}') for which in ('', name))
    head = ours.model.localization.decode_head
    assert head.pop('sampler', None) == (SAMPLER if hard else None)
    assert head.loss_decode.size_weight == weighted
    head.loss_decode.size_weight = False
    ours.pop('sampler', None)  # the name in the file
    assert ours.to_dict() == plain.to_dict()


def test_the_things_of_the_scenes_have_instances(read):
    from mmseg_ext.datasets.scenes import CLASSES, THING_CLASSES
    cfg = read('instances/instances_vgg11bn-w16_1xb4-800_scenes-128x128')
    background = cfg.model.localization.decode_head.background
    assert {CLASSES[c] for c in range(len(CLASSES)) if c not in background} == set(THING_CLASSES)
