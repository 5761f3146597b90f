"""The segmentor against mmseg's own, with equal weights."""
import copy

import pytest
import torch
from mmengine import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_ext  # noqa: F401  (registers the plugins)

NORM = dict(type='BN')
CLASSES = 5
CE = dict(type='CrossEntropyLoss')
WEIGHTS = [0.5, 2., 1., 0.1, 3.]
BOOTSTRAP = dict(type='BootstrapPixelSampler', thresh=0.3, min_kept=90)
OHEM = dict(type='OHEMPixelSampler', thresh=0.2, min_kept=150)


def head(losses=CE, sampler=None, align_corners=False, **kwargs):
    return dict(
        dict(type='FCNHead', in_channels=16, in_index=0, channels=4, num_convs=1,
             num_classes=CLASSES, dropout_ratio=0, norm_cfg=NORM, align_corners=align_corners,
             loss_decode=losses, sampler=sampler), **kwargs)


def models(decode_head, **kwargs):
    """mmseg's model and ours with the weights of it."""
    config = dict(
        backbone=dict(type='VGG', depth=11, base_channels=4, out_indices=(2, ), norm_cfg=NORM),
        decode_head=decode_head, train_cfg=dict(), test_cfg=dict(mode='whole'), **kwargs)
    torch.manual_seed(0)
    built = [MODELS.build(ConfigDict(type=name, **copy.deepcopy(config)))
             for name in ('EncoderDecoder', 'FusedEncoderDecoder')]
    built[1].load_state_dict(built[0].state_dict())
    return [model.double() for model in built]


def batch(size=(37, 50), images=2, ignored=255):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(images, 3, *size, generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (images, 1, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = ignored
    return inputs, [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


def losses_and_gradients(model, inputs, samples):
    losses = model.train().loss(inputs, samples)
    sum(value.mean() for name, value in losses.items() if 'loss' in name).backward()
    return losses, {name: p.grad for name, p in model.named_parameters()}


FUSED = {
    'plain': dict(),
    'align_corners': dict(align_corners=True),
    'valid pixels': dict(losses=dict(CE, avg_non_ignore=True)),
    # mmseg looks up the weight of an ignored pixel: only a class can be ignored
    'class weights': dict(
        losses=dict(CE, class_weight=WEIGHTS, avg_non_ignore=True), ignore_index=3),
    'class weights, all pixels': dict(losses=dict(CE, class_weight=WEIGHTS), ignore_index=3),
    'sum': dict(losses=dict(CE, reduction='sum', loss_weight=0.1)),
    'ours, weights': dict(losses=dict(type='ClassWeightedCrossEntropyLoss', class_weight=WEIGHTS)),
    'ours, per image': dict(
        losses=dict(type='ClassWeightedCrossEntropyLoss', class_weight=WEIGHTS, per_image=True)),
    'bootstrapped': dict(losses=dict(
        type='BootstrappedCrossEntropyLoss', thresh=0.3, min_kept=50, per_image=True,
        class_weight=WEIGHTS, normalization='valid')),
    'sampler': dict(sampler=BOOTSTRAP, losses=[CE, dict(CE, loss_weight=0.5)]),
    'sampler, weights': dict(
        sampler=dict(BOOTSTRAP, per_image=True, normalization='all'),
        losses=dict(type='ClassWeightedCrossEntropyLoss', class_weight=WEIGHTS)),
    'OHEM': dict(sampler=OHEM),
    'OHEM, valid pixels': dict(sampler=OHEM, losses=dict(CE, avg_non_ignore=True)),
    'two losses': dict(losses=[
        CE, dict(type='BootstrappedCrossEntropyLoss', min_kept=80, loss_name='loss_hard')]),
}


@pytest.mark.parametrize('options', FUSED.values(), ids=FUSED)
def test_losses_accuracy_and_gradients_are_those_of_mmseg(options, monkeypatch):
    theirs, ours = models(head(**options))
    data = batch(ignored=options.get('ignore_index', 255))
    expected = losses_and_gradients(theirs, *data)
    # nothing is enlarged any more
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.resize', None)
    found = losses_and_gradients(ours, *data)
    torch.testing.assert_close(found[0], expected[0], check_dtype=False)
    torch.testing.assert_close(found[1], expected[1])


def test_auxiliary_heads_are_fused_too(monkeypatch):
    auxiliary = [head(), head(dict(CE, loss_name='loss_aux'))]
    theirs, ours = models(head(), auxiliary_head=auxiliary)
    expected = losses_and_gradients(theirs, *batch())
    monkeypatch.setattr('mmseg.models.decode_heads.decode_head.resize', None)
    torch.testing.assert_close(losses_and_gradients(ours, *batch()), expected, check_dtype=False)


ORDINARY = {
    'DiceLoss needs logits of full size': dict(losses=[CE, dict(type='DiceLoss')]),
    'CrossEntropyLoss is of sigmoids': dict(losses=dict(CE, use_sigmoid=True)),
    'SobelEdgeLoss needs logits of full size': dict(losses=dict(type='SobelEdgeLoss')),
    'OHEMPixelSampler without thresh needs the loss of each pixel': dict(
        sampler=dict(OHEM, thresh=None)),
    "BootstrapPixelSampler(difficulty='loss') needs the loss of each pixel": dict(
        sampler=dict(type='BootstrapPixelSampler', min_kept=9, difficulty='loss')),
    'BootstrappedCrossEntropyLoss selects other pixels than OHEMPixelSampler': dict(
        sampler=OHEM, losses=dict(type='BootstrappedCrossEntropyLoss')),
    'it has one logit': dict(losses=dict(CE, use_sigmoid=True), num_classes=2, out_channels=1),
}


@pytest.mark.parametrize('why, options', ORDINARY.items())
def test_a_head_that_needs_large_logits_goes_the_ordinary_way_and_says_why(
        why, options, monkeypatch):
    said = []
    monkeypatch.setattr('mmseg_ext.models.segmentors.fused_encoder_decoder.print_log',
                        lambda sentence, **kwargs: said.append(sentence))
    theirs, ours = models(head(**options))
    assert said == [f'decode_head is trained with logits of full size: {why}.']
    inputs, samples = batch()
    if 'out_channels' in options:
        for sample in samples:
            sample.gt_sem_seg.data %= 2
    torch.testing.assert_close(losses_and_gradients(ours, inputs, samples),
                               losses_and_gradients(theirs, inputs, samples))


def test_a_batch_without_labels(monkeypatch):
    theirs, ours = models(head(sampler=BOOTSTRAP))
    inputs, samples = batch()
    for sample in samples:
        sample.gt_sem_seg.data[:] = 255
    found, gradients = losses_and_gradients(ours, inputs, samples)
    torch.testing.assert_close(found, losses_and_gradients(theirs, inputs, samples)[0],
                               check_dtype=False)
    assert not any(gradient.any() for gradient in gradients.values())


def test_labels_of_the_size_of_the_map_are_taken_as_they_are():
    theirs, ours = models(head())
    inputs, samples = batch((32, 32))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=sample.gt_sem_seg.data[:, ::4, ::4]))
               for sample in samples]
    torch.testing.assert_close(losses_and_gradients(ours, inputs, samples),
                               losses_and_gradients(theirs, inputs, samples))


METAS = {
    'as it is': dict(ori_shape=(37, 50)),
    'another size': dict(ori_shape=(61, 44)),
    'padded': dict(ori_shape=(70, 90), img_padding_size=[0, 3, 2, 4]),
    'flipped': dict(ori_shape=(40, 40), flip=True, flip_direction='horizontal'),
    'flipped vertically': dict(ori_shape=(37, 50), flip=True, flip_direction='vertical'),
    'torch.Size': dict(ori_shape=(37, 50), img_shape=torch.Size((37, 50)), pad_shape=(64, 64)),
}


def predictions(model, metas, size=(37, 50)):
    inputs, _ = batch(size, len(metas))
    samples = [SegDataSample(metainfo={'img_shape': size, 'pad_shape': size, **meta})
               for meta in metas]
    with torch.no_grad():
        return model.eval().predict(inputs, samples)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('meta', METAS.values(), ids=METAS)
def test_label_maps_and_logits_are_those_of_mmseg(meta, align_corners, monkeypatch):
    theirs, ours = models(head(align_corners=align_corners))
    expected = predictions(theirs, [meta, meta])
    with monkeypatch.context() as patched:  # nothing is enlarged for a label map
        patched.setattr('mmseg.models.decode_heads.decode_head.resize', None)
        patched.setattr('mmseg_ext.models.segmentors.fused_encoder_decoder.resize', None)
        found = predictions(ours, [meta, meta])
    for a, b in zip(found, expected):
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
        torch.testing.assert_close(a.seg_logits.data, b.seg_logits.data)


def test_copies_of_a_prediction_have_its_logits():
    theirs, ours = models(head())
    expected = predictions(theirs, [METAS['padded']])[0]
    found = predictions(ours, [METAS['padded']])[0]
    for copied in (found.to(torch.float64), found.cpu(), copy.deepcopy(found)):
        torch.testing.assert_close(copied.seg_logits.data, expected.seg_logits.data)
    with pytest.raises(AttributeError, match="no attribute 'something'"):
        getattr(found.seg_logits, 'something')  # noqa: B009


def test_test_time_augmentation_averages_enlarged_logits():
    results = []
    for model in models(head()):
        views = [predictions(model, [METAS['as it is']]),
                 predictions(model, [dict(METAS['as it is'], flip=True,
                                          flip_direction='horizontal')])]
        for view in views:
            view[0].set_metainfo(dict(img_path='x.png'))
        merged = SegTTAModel(module=model).merge_preds([[view[0] for view in views]])
        results.append(merged[0].pred_sem_seg.data)
    assert torch.equal(*results)


def test_sliding_windows_go_the_ordinary_way():
    results = []
    for model in models(head()):
        model.test_cfg.update(mode='slide', crop_size=(24, 24), stride=(13, 13))
        results.append(predictions(model, [METAS['another size']])[0])
    assert torch.equal(results[0].pred_sem_seg.data, results[1].pred_sem_seg.data)
    torch.testing.assert_close(results[1].seg_logits.data, results[0].seg_logits.data)


def test_a_prediction_without_meta_information_is_that_of_mmseg():
    theirs, ours = models(head())
    inputs, _ = batch()
    with torch.no_grad():
        found, expected = (model.eval().predict(inputs)[1] for model in (ours, theirs))
    torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data)


def test_a_copy_of_the_model_has_losses_of_its_own():
    """As an average of the weights (EMAHook) has: the copy must not train the original's head."""
    _, ours = models(head())
    copied = copy.deepcopy(ours)
    _, gradients = losses_and_gradients(copied, *batch())
    assert all(gradient is not None for gradient in gradients.values())
    assert all(p.grad is None for p in ours.parameters())
