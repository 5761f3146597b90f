"""The settings of FCRN and online bootstrapping, as the paper and the authors' release state them.

"Release" is that of their next network, "Wider or Deeper": the paper states no schedule.
"""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn as nn
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ext.engine import launch

CONFIGS = Path(__file__).parents[2] / 'configs/bootstrapping'
CAMVID_PAIR = [
    f'fcrn-k5d4{rule}_r18-w32-d8_1xb8-1200_camvid-180x240' for rule in ('', '-bs34560-t06')
]
PSPNET_PAIR = [
    f'pspnet{rule}_r50-d8_4xb2-40k_cityscapes-512x1024' for rule in ('', '-bs67633-t06')
]
# Tables 1 and 3: depth, output stride, kernel, dilation, field of view in pixels.
TABLE_1 = [(depth, *row) for depth in (50, 101)
           for row in ((16, 3, 6, 208), (8, 3, 6, 104), (8, 3, 12, 200), (8, 3, 18, 296),
                       (8, 5, 6, 200), (8, 5, 12, 392), (8, 7, 6, 296))]
TABLE_3 = TABLE_1 + [(152, *row) for _, *row in TABLE_1[:7]] + [(50, 8, 5, 18, 584),
                                                                (50, 8, 7, 12, 584)]
BEST = [('voc12aug', 101), ('cityscapes', 152), ('pascal-context', 101)]

# Place in the paper, setting, value.
COMMON = [
    ('release', 'optim_wrapper', dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.0016, momentum=0.9, weight_decay=0.0005),
        paramwise_cfg=dict(bias_lr_mult=2., bias_decay_mult=0.))),
    ('release, 140 + 64', 'train_cfg.max_epochs', 204),
    ('release', 'train_cfg.type', 'EpochBasedTrainLoop'),
    ('release, from 8e-4 to 0', 'param_scheduler', [dict(
        type='LinearLR', start_factor=0.5, end_factor=0., begin=140, end=204, by_epoch=True,
        convert_to_iter_based=True)]),
    ('release', 'train_dataloader.batch_size', 16),
    ('release', 'model.data_preprocessor.size', (504, 504)),
    ('Sec. 2.3', 'model.backbone.type', 'FCRN'),
    ('Sec. 2.3', 'model.backbone.norm_eval', '(not set)'),
    ('Sec. 2.3', 'model.backbone.norm_cfg', '(not set)'),
    ('Sec. 2.3', 'model.decode_head.type', 'FCRNHead'),
    ('Sec. 3.1, images as they are', 'test_dataloader.dataset.pipeline.Resize', '(not set)'),
    ('mIoU', 'test_evaluator.type', 'IoUMetric'),
]
VANILLA = [
    ('Sec. 1, an improvement', 'model.backbone.dropout', ()),
    ('Sec. 1, an improvement', 'model.decode_head.classifier', '(not set)'),
    ('not in the paper', 'model.decode_head.dropout_ratio', '(not set)'),
]
AUGMENTED = ('train_dataloader.dataset.pipeline', 'train_dataloader.dataset.datasets.0.pipeline',
             'train_dataloader.dataset.datasets.1.pipeline')


def crops(pipeline, scale):
    return [('release', f'{pipeline}.RandomCrop.crop_size', (504, 504)),
            ('release', f'{pipeline}.RandomResize.scale', scale),
            ('release', f'{pipeline}.RandomResize.ratio_range', (0.7, 1.3)),
            ('release', f'{pipeline}.RandomFlip.prob', 0.5)]


def voc(split, name, folder):
    return [('Sec. 3.1', f'{split}.type', 'PascalVOCDataset'),
            ('Sec. 3.1', f'{split}.ann_file', f'ImageSets/Segmentation/{name}.txt'),
            ('Sec. 3.1', f'{split}.data_prefix.seg_map_path', folder)]


def context(split, name):
    return [('Sec. 3.1', f'{split}.type', 'PascalContextDataset'),
            ('Sec. 3.1', f'{split}.ann_file', f'ImageSets/SegmentationContext/{name}.txt'),
            ('Sec. 3.1', f'{split}.data_prefix.seg_map_path', 'SegmentationClassContext')]


def cityscapes(split, name):
    return [('Sec. 3.1', f'{split}.type', 'CityscapesDataset'),
            ('Sec. 3.1', f'{split}.data_prefix',
             dict(img_path=f'leftImg8bit/{name}', seg_map_path=f'gtFine/{name}'))]


VOC_TRAINED = [
    ('Sec. 3.1, 10,582 images', 'train_dataloader.dataset.type', 'ConcatDataset'),
    ('Sec. 3.1, 10,582 images', 'train_dataloader.dataset.datasets.2', '(not set)'),
    *voc('train_dataloader.dataset.datasets.0', 'train', 'SegmentationClass'),
    *voc('train_dataloader.dataset.datasets.1', 'aug', 'SegmentationClassAug'),
    *crops(AUGMENTED[1], (500, 500)), *crops(AUGMENTED[2], (500, 500)),
    *voc('val_dataloader.dataset', 'val', 'SegmentationClass'),
    ('20 classes and background', 'model.decode_head.num_classes', 21)]
DATA = {
    'voc12aug': [*VOC_TRAINED, *voc('test_dataloader.dataset', 'val', 'SegmentationClass')],
    'voc12aug-test': [
        *VOC_TRAINED, *voc('test_dataloader.dataset', 'test', 'SegmentationClass'),
        ('server', 'test_evaluator.format_only', True)],
    'cityscapes': [
        *cityscapes('train_dataloader.dataset', 'train'), *crops(AUGMENTED[0], (2048, 1024)),
        *cityscapes('val_dataloader.dataset', 'val'),
        *cityscapes('test_dataloader.dataset', 'val'),
        ('Sec. 3.1', 'model.decode_head.num_classes', 19)],
    'pascal-context': [
        *context('train_dataloader.dataset', 'train'), *crops(AUGMENTED[0], (500, 500)),
        *context('val_dataloader.dataset', 'val'), *context('test_dataloader.dataset', 'val'),
        ('Sec. 3.1, 59 and background', 'model.decode_head.num_classes', 60)],
}


def name_of(data, depth, kernel=5, dilation=12, rule='', stride=8):
    return (f'bootstrapping/fcrn-k{kernel}d{dilation}{rule}_r{depth}-d{stride}_1xb16-204e_'
            f'{data}-504x504')


@pytest.mark.parametrize('data, row', [('voc12aug', row) for row in TABLE_1]
                         + [('cityscapes', row) for row in TABLE_3])
def test_each_row_of_tables_1_and_3_is_a_config(data, row, read, pinned):
    depth, stride, kernel, dilation, field_of_view = row
    cfg = read(name_of(data, depth, kernel, dilation, stride=stride))
    pinned(cfg, COMMON, VANILLA, DATA[data], [
        ('row', 'model.backbone.depth', depth),
        ('row', 'model.backbone.output_stride', stride),
        ('Sec. 2.3', 'model.backbone.init_cfg',
         dict(type='Pretrained', checkpoint=f'torchvision://resnet{depth}')),
        ('row', 'model.decode_head.kernel_size', kernel),
        ('row', 'model.decode_head.dilation', dilation),
        ('one label per cell', 'model.decode_head.label_stride', stride),
        ('plain', 'model.decode_head.loss_decode',
         dict(type='CrossEntropyLoss', avg_non_ignore=True))])
    assert (dilation * (kernel - 1) + 1) * stride == field_of_view
    assert (len(TABLE_1), len(TABLE_3)) == (14, 23)


@pytest.mark.parametrize('kept', [256, 512, 1024])
@pytest.mark.parametrize('data, depth', BEST)
def test_bootstrapping_keeps_points_of_each_image(data, depth, kept, read, pinned):
    """Table 7, and Table 5's data; nothing else in the row that it starts from is changed."""
    plain, ours = (read(name_of(data, depth, rule=rule)) for rule in ('', f'-bs{kept}'))
    pinned(ours, COMMON, VANILLA, DATA[data])
    assert ours.model.decode_head.pop('loss_decode') == dict(
        type='BootstrappedCrossEntropyLoss', thresh=None, min_kept=kept, per_image=True)
    del plain.model.decode_head.loss_decode
    assert ours.to_dict() == plain.to_dict()


@pytest.mark.parametrize('data', ['voc12aug', 'voc12aug-test', 'pascal-context'])
def test_the_best_network_has_dropout_and_two_layers(data, read, pinned):
    """Table 2, test list (79.1 mIoU), and Table 5 (44.5 mIoU), the same model (Sec. 3.1)."""
    cfg = read(f'bootstrapping/fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_{data}-504x504')
    pinned(cfg, COMMON, DATA[data], [
        ('Table 2', 'model.backbone.depth', 101),
        ('Table 2', 'model.backbone.output_stride', 8),
        ('release', 'model.backbone.dropout', (0.3, 0.5)),
        ('Sec. 1', 'model.decode_head.classifier', 'multi-layer'),
        ('release', 'model.decode_head.kernel_size', 3),
        ('release', 'model.decode_head.dilation', 12),
        ('release', 'model.decode_head.hidden_channels', 512),
        ('one label per cell', 'model.decode_head.label_stride', 8),
        ('Sec. 3.3, 512', 'model.decode_head.loss_decode', dict(
            type='BootstrappedCrossEntropyLoss', thresh=None, min_kept=512, per_image=True))])


def test_the_test_list_differs_from_val_in_the_test_alone(read):
    val, test = (read(f'bootstrapping/fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_{data}-504x504')
                 for data in ('voc12aug', 'voc12aug-test'))
    for key in ('test_dataloader', 'test_evaluator', 'test_pipeline', 'tta_pipeline'):
        val.pop(key)
        test.pop(key)
    assert test.to_dict() == val.to_dict()


@pytest.mark.parametrize('data, depth', BEST)
def test_norm_layers_are_frozen_and_the_biases_learn_twice_as_fast(data, depth, read, narrow):
    cfg = narrow(read(name_of(data, depth)))
    model = MODELS.build(cfg.model)
    model.train()
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training or m.weight.requires_grad for m in norms)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {id(g['params'][0]): (g['lr'], g['weight_decay']) for g in optimizer.param_groups}
    assert groups[id(model.decode_head.conv_seg.bias)] == (3.2e-3, 0)
    assert groups[id(model.decode_head.conv_seg.weight)] == (1.6e-3, 5e-4)
    assert groups[id(model.backbone.conv1.weight)] == (1.6e-3, 5e-4)


def test_the_rate_is_fixed_for_140_epochs_then_falls_to_zero_from_half_of_it(read):
    cfg = read(name_of('cityscapes', 152, rule='-bs256-t06'))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.6e-3)
    (schedule, ) = [PARAM_SCHEDULERS.build(s, default_args=dict(
        optimizer=optimizer, epoch_length=2)) for s in cfg.param_scheduler]
    rates = []
    for _ in range(2 * cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    assert set(rates[:280]) == {1.6e-3}
    np.testing.assert_allclose(rates[280:], np.linspace(8e-4, 0, 128), atol=1e-9)


def test_the_rule_of_the_release_changes_the_loss_alone(read, pinned):
    plain, ours = (read(name_of('cityscapes', 152, rule=rule)) for rule in ('', '-bs256-t06'))
    pinned(ours, COMMON, VANILLA, DATA['cityscapes'])
    assert ours.model.decode_head.pop('loss_decode') == dict(
        type='BootstrappedCrossEntropyLoss', thresh=0.6, min_kept=256, per_image=False)
    del plain.model.decode_head.loss_decode
    assert ours.to_dict() == plain.to_dict()


@pytest.mark.parametrize('pair, key', [(CAMVID_PAIR, 'loss_decode'), (PSPNET_PAIR, 'sampler')])
def test_a_pair_differs_in_the_bootstrapping_alone(pair, key, read):
    plain, ours = (read(f'bootstrapping/{name}') for name in pair)
    assert ours.model.decode_head.pop(key).type.startswith('Bootstrap')
    plain.model.decode_head.pop(key, None)
    ours.pop(key, None)  # the name that the config gives it
    # what it shows is not what it trains
    ours.default_hooks.visualization = plain.default_hooks.visualization
    assert ours.to_dict() == plain.to_dict()


def test_the_shares_of_pixels_are_what_the_comments_say(read):
    pspnet = read(f'bootstrapping/{PSPNET_PAIR[1]}').model
    height, width = pspnet.data_preprocessor.size
    assert pspnet.decode_head.sampler.min_kept == round(512 / 63**2 * height * width)
    camvid = read(f'bootstrapping/{CAMVID_PAIR[1]}')
    loss = camvid.model.decode_head.loss_decode
    assert loss.min_kept == camvid.train_dataloader.batch_size * 180 * 240 // 10
    assert loss.thresh == pspnet.decode_head.sampler.thresh == 0.6


@pytest.mark.parametrize('name', [
    'fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_voc12aug-504x504',
    'fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_voc12aug-test-504x504', CAMVID_PAIR[0]])
def test_six_views_are_averaged_at_test(name, read, narrow, tmp_path):
    """Three sizes, each flipped or not; the result is the mean of their probabilities."""
    torch.manual_seed(0)
    cfg = narrow(read(f'bootstrapping/{name}'))
    launch.enable_tta(cfg)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    cv2.imwrite(str(tmp_path / 'label.png'), np.zeros((50, 70), np.uint8))
    views = Compose(cfg.test_dataloader.dataset.pipeline)(dict(
        img_path=str(tmp_path / 'image.png'), seg_map_path=str(tmp_path / 'label.png'),
        reduce_zero_label=False, seg_fields=[]))
    assert len({tuple(image.shape) for image in views['inputs']}) == 3
    assert [sample.flip for sample in views['data_samples']].count(True) == 3
    assert len(views['inputs']) == 6
    model = MODELS.build(cfg.model)
    for conv in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        nn.init.kaiming_normal_(conv.weight)  # else all views have about the same probabilities
    model.eval()
    probabilities, predict = [], model.module.test_step

    def predict_and_record(data):
        (sample, ) = predict(data)
        probabilities.append(sample.seg_logits.data.softmax(dim=0))
        return [sample]

    model.module.test_step = predict_and_record
    with torch.no_grad():
        (result, ) = model.test_step(pseudo_collate([views]))
    label = result.pred_sem_seg.data.squeeze()
    assert len(probabilities) == 6
    assert label.equal(sum(probabilities).argmax(dim=0))
    assert not any(label.equal(view.argmax(dim=0)) for view in probabilities)
    assert result.pred_sem_seg.data.shape[-2:] == (50, 70)
    if 'test' not in name:
        assert result.gt_sem_seg.data.shape[-2:] == (50, 70)


def test_a_cell_is_as_many_pixels_at_test_as_in_training(read, narrow):
    """ResNet rounds 100x75 pixels up to 13x10 cells, which must not be squeezed into that size."""
    model = MODELS.build(narrow(read(name_of('voc12aug', 50))).model)
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


def test_the_rows_of_the_paper_are_all_its_configs():
    names = {name_of('voc12aug', d, k, dil, stride=s) for d, s, k, dil, _ in TABLE_1}
    names |= {name_of('cityscapes', d, k, dil, stride=s) for d, s, k, dil, _ in TABLE_3}
    names |= {name_of(data, depth, rule=rule) for data, depth in BEST
              for rule in ('', '-bs256', '-bs512', '-bs1024')}
    names = {name.split('/')[1] for name in names | {name_of('cityscapes', 152, rule='-bs256-t06')}}
    names |= {f'fcrn-ml-k3d12-bs512_r101-d8_1xb16-204e_{data}-504x504'
              for data in ('voc12aug', 'voc12aug-test', 'pascal-context')}
    assert {path.stem for path in CONFIGS.glob('*.py')} == names | {*CAMVID_PAIR, *PSPNET_PAIR}
