"""RegionHead inside the stock segmentor, and where its weights come from."""
import copy
from collections import OrderedDict

import numpy as np
import pytest
import region_head_cases as cases
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS

from mmseg_ext.models import RegionHead
from mmseg_ext.ops import (
    extension_loaded,
)

PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[127.] * 3, std=[60.] * 3, bgr_to_rgb=True, pad_val=0,
    seg_pad_val=255, size_divisor=16)
SCENES = 12  # classes
GENERATE = dict(type='GenerateRegions', scale=30, min_size=30)
TRAIN = [dict(GENERATE, colour_space='random'), dict(type='RandomFlip', prob=0.5),
         dict(type='PackRegionInputs', gt_regions=True)]
TEST = [GENERATE, dict(type='PackRegionInputs')]


def make_model(test_cfg=None, preprocessor=None, **kwargs):
    torch.manual_seed(0)
    head = dict(type='RegionHead', in_channels=32, channels=8, num_classes=SCENES,
                roi_layer=cases.POOLING, dropout_ratio=0,
                init_cfg=dict(type='Normal', layer='Linear', std=0.3))
    model = MODELS.build(dict(
        type='EncoderDecoder',
        data_preprocessor=dict(PREPROCESSOR, **preprocessor or {}),
        backbone=dict(type='VGG', depth=11, base_channels=4, out_indices=(4, ),
                      norm_cfg=dict(type='BN')),
        decode_head=dict(head, **kwargs),
        train_cfg={},
        test_cfg=ConfigDict(test_cfg or dict(mode='whole'))))
    model.init_weights()
    return model


def scene(pipeline, size=(60, 76), index=0):
    return DATASETS.build(dict(
        type='ScenesDataset', num_images=2, size=size, pipeline=pipeline))[index]


def training_batch(sizes=((60, 76), (50, 90))):
    np.random.seed(0)
    return pseudo_collate([scene(TRAIN, size, index) for index, size in enumerate(sizes)])


def test_it_trains_in_an_encoder_decoder_on_images_of_different_sizes():
    """64x96 after padding. As every parameter has a gradient, DistributedDataParallel works."""
    model = make_model()
    data = model.data_preprocessor(training_batch(), training=True)
    assert data['inputs'].shape == (2, 3, 64, 96)
    losses = model(**data, mode='loss')
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg'}
    losses['decode.loss_ce'].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for n, p in model.named_parameters()
               if not n.endswith('bias') or n.startswith('decode_head'))
    parsed, log = model.parse_losses(losses)
    assert parsed == losses['decode.loss_ce'] and 0 <= log['decode.acc_seg'] <= 100


def test_whole_batch_of_an_encoder_decoder_by_pixels():
    model = make_model(loss_decode=cases.PER_CELL).eval().double()
    data = model.data_preprocessor(training_batch(), training=True)
    images, samples = data['inputs'].double(), data['data_samples']
    scores = model.encode_decode(images, [sample.metainfo for sample in samples])
    expected = F.cross_entropy(scores, cases.labels_of(samples).long(), ignore_index=255)
    torch.testing.assert_close(model.loss(images, samples)['decode.loss_ce'], expected)


@pytest.mark.parametrize('size', [(60, 76), (64, 80), (17, 100)])
@pytest.mark.parametrize('preprocessor', [{}, dict(test_cfg=dict(size_divisor=32))],
                         ids=['as it is', 'padded'])
def test_it_predicts_in_an_encoder_decoder_at_any_size(size, preprocessor):
    model = make_model(preprocessor=preprocessor).eval()
    result, = model.test_step(pseudo_collate([scene(TEST, size)]))
    scores, cells = result.seg_logits.data, result.regions.cells
    assert scores.shape == (SCENES, *size) and cells.shape == size
    assert torch.equal(result.pred_sem_seg.data[0], scores.argmax(dim=0))
    for cell in range(int(cells.max()) + 1):  # pixels of a cell have the same scores
        assert (scores[:, cells == cell] == scores[:, cells == cell][:, :1]).all()
    assert scores.flatten(1).unique(dim=1).size(1) > 1


def test_a_prediction_is_resized_to_the_original_image():
    resize = dict(type='Resize', scale=(95, 70))
    model = make_model().eval()
    result, = model.test_step(pseudo_collate([scene([GENERATE, resize, TEST[1]])]))
    assert result.regions.cells.shape == (70, 95)
    assert result.seg_logits.data.shape == (SCENES, 60, 76)


FLIPS = [dict(type='RandomFlip', prob=0.), dict(type='RandomFlip', prob=1.)]


@pytest.mark.parametrize('scale', [(190, 150), (76, 60), (57, 45), (40, 30)])
def test_an_image_that_was_resized_is_labelled_at_its_own_size(scale):
    """Scores interpolated between two regions are those of no region, and blur their border."""
    resize = dict(type='Resize', scale=scale, keep_ratio=False)
    item = scene([GENERATE, resize, TEST[1]])
    cells = torch.from_numpy(scene([GENERATE])['region_cells'].astype(np.int64))
    with torch.no_grad():
        result, = make_model().eval().test_step(pseudo_collate([item]))
    found = result.seg_logits.data.flatten(1)
    assert found.shape[1] == cells.numel()
    allowed = {tuple(column) for column in found.T.tolist()}
    assert len(allowed) <= len(item['data_samples'].regions.cells.unique())
    if scale[0] >= cells.shape[1]:  # every pixel is still there: cells are what they were
        for cell in cells.unique():
            assert len(found[:, cells.flatten() == cell].unique(dim=1).T) == 1


@pytest.mark.parametrize('direction, dim', [('horizontal', 2), ('vertical', 1)])
def test_a_prediction_of_a_flipped_image_is_flipped_back_with_its_regions(direction, dim):
    """Once as a flipped image, once as an image that happens to look like that."""
    flip = dict(type='RandomFlip', prob=1., direction=direction)
    model = make_model().eval()
    item = scene([GENERATE, flip, TEST[1]])
    plain = copy.deepcopy(item)
    plain['data_samples'].set_metainfo(dict(flip=False, flip_direction=None))
    flipped, = model.test_step(pseudo_collate([item]))
    plain, = model.test_step(pseudo_collate([plain]))
    assert flipped.flip and not plain.flip
    assert torch.equal(flipped.seg_logits.data, plain.seg_logits.data.flip(dim))
    # its cells are those of the image as it was
    cells = flipped.regions.cells.flip(dim - 1)
    assert (flipped.seg_logits.data[:, cells == 0].unique(dim=1)).size(1) == 1


def test_mmsegs_flip_test_averages_what_the_two_views_predict_alone():
    model = make_model().eval()

    def predict_view(flip):
        return model.test_step(pseudo_collate([scene([GENERATE, flip, TEST[1]])]))[0]

    scores = predict_view(FLIPS[0]).seg_logits.data
    with torch.no_grad():  # otherwise one class is the best everywhere
        model.decode_head.classifier[6].weight /= scores.std(dim=(1, 2)).mean()
        scores = predict_view(FLIPS[0]).seg_logits.data
        model.decode_head.classifier[6].bias -= scores.mean(dim=(1, 2))
    views = [predict_view(flip) for flip in FLIPS]
    assert [view.flip for view in views] == [False, True]
    mean = sum(view.seg_logits.data.softmax(dim=0) for view in views) / 2
    tta = MODELS.build(dict(type='SegTTAModel', module=model))
    merged, = tta.test_step(pseudo_collate([scene([
        GENERATE, dict(type='TestTimeAug', transforms=[FLIPS, [TEST[1]]])])]))
    assert torch.equal(merged.pred_sem_seg.data[0], mean.argmax(dim=0))
    for view in views:  # of neither alone
        assert not torch.equal(view.pred_sem_seg.data, merged.pred_sem_seg.data)


def test_bfloat16_by_autocast_has_the_loss_of_float32_but_for_the_layers():
    """Counts of pixels and sums over them do not fit into 8 bits."""
    model = make_model().eval()
    data = model.data_preprocessor(training_batch(), training=True)
    single = model(**data, mode='loss')['decode.loss_ce']
    scores = []
    model.decode_head.register_forward_hook(lambda head, args, output: scores.extend(output))
    with torch.autocast('cpu', torch.bfloat16):
        losses = model(**data, mode='loss')
    loss = losses['decode.loss_ce']
    assert scores[0].dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, single, rtol=0.05, atol=0)
    # the same scores, then all in float64
    head, samples = model.decode_head.double(), data['data_samples']
    head.classifier = cases.GivenScores(torch.cat(scores).double())
    head.features = 'box'
    exact = head.loss((torch.zeros(2, 32, 4, 6).double(), ), samples, {})['loss_ce']
    torch.testing.assert_close(loss, exact.float(), rtol=1e-5, atol=0)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.backbone.parameters())


@pytest.mark.skipif(not extension_loaded(), reason='slow without the kernels')
def test_torch_compile_gives_the_same_loss_and_gradients():
    model = make_model(features='region').eval()
    data = model.data_preprocessor(training_batch(sizes=[(30, 40)]), training=True)
    results = []
    for run in (model, torch.compile(model, backend='aot_eager')):
        model.zero_grad()
        loss = run(**data, mode='loss')['decode.loss_ce']
        loss.backward()
        results.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
    torch._dynamo.reset()
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)



def vgg_state(classes=cases.CLASSES):
    """The classifier of torchvision's VGG, smaller."""
    inputs = cases.CHANNELS * cases.GRID * cases.GRID
    layers = nn.Sequential(OrderedDict([
        ('0', nn.Linear(inputs, 8)), ('3', nn.Linear(8, 8)), ('6', nn.Linear(8, classes))]))
    return {f'classifier.{name}': value for name, value in layers.state_dict().items()}


@pytest.mark.parametrize('features', ['tied', 'region', 'box'])
def test_vggs_layers_load_as_they_are(features):
    head, state = cases.make_head(features=features), vgg_state()
    head.load_state_dict(state, strict=True)
    for name, value in head.state_dict().items():
        assert torch.equal(value, state[name])


def test_separate_weights_start_as_halves_of_vggs():
    """So a region that fills its box has the scores that VGG's layers give it."""
    state = vgg_state()
    kept = copy.deepcopy(state)
    separate, box = cases.make_head(features='separate'), cases.make_head(features='box')
    separate.load_state_dict(state)
    box.load_state_dict(state)
    weight = state['classifier.0.weight']
    assert torch.equal(separate.classifier[0].weight, torch.cat([weight, weight], dim=1) / 2)
    regions = [cases.region_set(torch.zeros(cases.BATCH), [[0]])]
    maps = (torch.randn(1, cases.CHANNELS, 4, 5), )
    torch.testing.assert_close(
        separate(maps, regions, cases.BATCH), box(maps, regions, cases.BATCH))
    assert all(torch.equal(state[name], kept[name]) for name in kept), 'the caller keeps his own'


def test_init_cfg_loads_all_but_the_classes_of_imagenet(tmp_path):
    """As configs/_base_/models/region_vgg16.py does; fc8 keeps N(0, 0.01)."""
    path, state = str(tmp_path / 'vgg.pth'), vgg_state(classes=1000)
    torch.save(dict(state, **{'features.0.weight': torch.zeros(4, 3, 3, 3)}), path)
    head = cases.make_head(init_cfg=[dict(type='Normal', layer='Linear', std=0.01),
                               dict(type='Pretrained', checkpoint=path)])
    head.init_weights()
    weight = state['classifier.0.weight']
    assert torch.equal(head.classifier[0].weight, torch.cat([weight, weight], dim=1) / 2)
    assert torch.equal(head.classifier[3].weight, state['classifier.3.weight'])
    assert head.classifier[6].weight.std().item() == pytest.approx(0.01, rel=0.5)
    assert head.classifier[6].bias.eq(0).all()


def test_a_separate_head_is_saved_and_loaded_exactly(tmp_path):
    """Its own weights are not halved, alone or inside a model, by mmengine or by torch."""
    path = str(tmp_path / 'model.pth')
    model, other = make_model(), make_model()
    torch.save(dict(state_dict=model.state_dict()), path)
    nn.init.zeros_(other.decode_head.classifier[0].weight)
    load_checkpoint(other, path)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    head, other = cases.make_head(), cases.make_head()
    nn.init.ones_(head.classifier[0].weight)
    other.load_state_dict(head.state_dict())
    assert other.classifier[0].weight.eq(1).all()


def test_layers_start_from_a_normal_distribution_of_001():
    head = RegionHead(32, 64, num_classes=cases.CLASSES, roi_layer=cases.POOLING)
    head.init_weights()
    for layer in (m for m in head.modules() if isinstance(m, nn.Linear)):
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.2)
        assert layer.bias.eq(0).all()
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]



def test_a_call_without_regions_says_what_to_call():
    with pytest.raises(ValueError, match="mode='loss' or 'predict'"):
        make_model()(torch.zeros(1, 3, *cases.BATCH), mode='tensor')


def test_slide_inference_is_refused():
    model = make_model(dict(mode='slide', crop_size=(32, 32), stride=(16, 16))).eval()
    with pytest.raises(ValueError, match="mode='slide'.*model.test_cfg.mode='whole'"):
        model.test_step(pseudo_collate([scene(TEST)]))
