import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmseg_ext.evaluation  # noqa: F401  (registers the metric)
from mmseg_ext.evaluation import SemanticEdgeMetric
from mmseg_ext.models import SemanticEdgeDetector, SEMEDALoss
from mmseg_ext.ops import semantic_edges

SCHEDULE = Path(__file__).parents[3] / 'configs/_base_/schedules/schedule_edges_2k.py'


def make_detector(num_classes=3, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(type='SemanticEdgeDetector', edge_net=dict(num_classes=num_classes), **kwargs))


def random_labels(*shape):
    label = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(0))
    label[..., :2] = 255
    return label


def smooth_maps(number, size):
    """Label maps of three classes, with smooth regions and a strip without labels."""
    coarse = torch.randn(number, 3, 4, 4)
    labels = F.interpolate(coarse, (size, size), mode='bilinear', align_corners=False).argmax(dim=1)
    labels[:, size // 3] = 255
    return labels


def samples(*maps):
    return [SegDataSample(gt_sem_seg=PixelData(data=labels[None])) for labels in maps]


def test_it_learns_what_an_edge_is():
    detector = make_detector()
    optimizer = torch.optim.Adam(detector.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, 150)
    for _ in range(150):
        optimizer.zero_grad()
        detector.loss(None, samples(*smooth_maps(4, 20)))['loss_edge'].backward()
        optimizer.step()
        schedule.step()
    metric, maps = SemanticEdgeMetric(), smooth_maps(16, 40)
    with torch.no_grad():
        results = detector.predict(None, samples(*maps))
    metric.process({}, [result.to_dict() for result in results])
    assert metric.evaluate(len(results))['edge/F'] > 97


def test_the_loss_is_the_mean_cross_entropy_of_the_labelled_pixels():
    detector, maps = make_detector().double(), random_labels(2, 7, 6)
    logits = detector.edge_net(maps, activated=False)[-1]
    edges, total = semantic_edges(maps), 0.
    known = (maps != 255).nonzero().tolist()
    for n, y, x in known:
        total -= logits[n, :, y, x].log_softmax(dim=0)[int(edges[n, y, x])]
    losses = detector.loss(None, samples(*maps))
    assert list(losses) == ['loss_edge']
    torch.testing.assert_close(losses['loss_edge'], total / len(known))
    losses['loss_edge'].backward()
    assert all(p.grad.abs().max() > 0 for p in detector.parameters())


def test_a_batch_without_labels_is_zero_with_a_graph():
    detector = make_detector()
    loss = detector.loss(None, samples(torch.full((6, 6), 255)))['loss_edge']
    loss.backward()
    assert loss == 0 and all(p.grad.eq(0).all() for p in detector.parameters())


def test_another_label_can_be_ignored():
    maps = random_labels(2, 7, 6)
    expected = make_detector().loss(None, samples(*maps))['loss_edge']
    other = make_detector(ignore_index=7).loss(None, samples(*maps.masked_fill(maps == 255, 7)))
    torch.testing.assert_close(other['loss_edge'], expected)


def test_maps_of_different_sizes_are_padded_with_pixels_without_a_label():
    detector, a, b = make_detector(ignore_index=7), random_labels(7, 6), random_labels(4, 9)
    a, b = (labels.masked_fill(labels == 255, 7) for labels in (a, b))
    stacked = detector.stack([a, b])
    assert stacked.shape == (2, 7, 9)
    assert torch.equal(stacked[0, :, :6], a) and torch.equal(stacked[1, :4], b)
    assert stacked[0, :, 6:].eq(7).all() and stacked[1, 4:].eq(7).all()
    loss = detector.loss(None, samples(a, b))['loss_edge']
    torch.testing.assert_close(loss, detector.loss(None, samples(*stacked))['loss_edge'])


def test_windows_are_cut_anywhere_and_are_not_larger_than_the_map():
    labels = torch.arange(5 * 30).view(5, 30)
    windows = make_detector(crop_size=8, num_crops=60).windows([labels])
    assert windows.shape == (60, 5, 8)
    for window in windows:
        left = int(window[0, 0])
        assert torch.equal(window, labels[:, left:left + 8])
    assert len({int(window[0, 0]) for window in windows}) > 10
    assert torch.equal(make_detector().windows([labels])[0], labels)


def test_each_map_gives_as_many_windows():
    maps = [torch.full((9, 7), 0), torch.full((4, 9), 1)]
    windows = make_detector(crop_size=5, num_crops=3).windows(maps)
    assert windows.shape == (6, 5, 5)
    assert windows[:3].eq(0).all() and windows[3:, :4].eq(1).all() and windows[3:, 4].eq(255).all()


def test_only_the_training_cuts_windows():
    maps = smooth_maps(2, 20)
    whole, cut = make_detector(), make_detector(crop_size=6)
    values = {cut.loss(None, samples(*maps))['loss_edge'].item() for _ in range(5)}
    assert len(values) == 5
    (ours, *_), (theirs, *_) = (model.predict(None, samples(*maps)) for model in (cut, whole))
    assert ours.pred_sem_seg.data.shape == (1, 20, 20)
    assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)


def test_each_map_is_predicted_as_if_it_were_alone():
    detector, a, b = make_detector(), random_labels(7, 6), random_labels(4, 9)
    results = detector(data_samples=samples(a, b), mode='predict')
    for result, labels in zip(results, (a, b)):
        edges = detector.edge_net(labels[None])[-1].argmax(dim=1)
        assert torch.equal(result.pred_sem_seg.data, edges)
    features = detector(data_samples=samples(a), mode='tensor')
    assert [feature.shape[1] for feature in features] == [16, 32, 2]


def test_there_is_no_image_to_extract_features_of():
    for method in ('extract_feat', 'encode_decode'):
        with pytest.raises(NotImplementedError, match='sees label maps, no images'):
            getattr(make_detector(), method)(torch.zeros(1, 3, 4, 4))


@pytest.fixture
def label_maps(tmp_path):
    """A folder of label maps of two sizes and a list of their names; there are no images."""
    torch.manual_seed(0)
    (tmp_path / 'labels').mkdir()
    for number, size in enumerate((20, 20, 24, 24)):
        cv2.imwrite(str(tmp_path / f'labels/{number}.png'),
                    smooth_maps(1, size)[0].numpy().astype(np.uint8))
    (tmp_path / 'names.txt').write_text('0\n1\n2\n3\n')
    return tmp_path


@pytest.mark.parametrize('class_agnostic', [False, True])
def test_a_runner_trains_it_without_images_and_the_loss_reads_its_checkpoint(
        class_agnostic, label_maps):
    init_default_scope('mmseg')
    loader = dict(
        batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(
            type='BaseSegDataset', metainfo=dict(classes=('a', 'b', 'c')), ann_file='names.txt',
            data_root=str(label_maps), data_prefix=dict(img_path='none', seg_map_path='labels'),
            pipeline=[dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
    shipped = Config.fromfile(SCHEDULE)  # its file has to be readable
    shipped.param_scheduler[0].total_steps = shipped.default_hooks.checkpoint.interval = 3
    runner = Runner(
        dict(type='SemanticEdgeDetector', crop_size=22,
             edge_net=dict(num_classes=3, class_agnostic=class_agnostic)),
        str(label_maps / 'run'), train_dataloader=loader,
        val_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3),
        val_cfg=dict(type='ValLoop'), val_evaluator=dict(type='SemanticEdgeMetric'),
        optim_wrapper=shipped.optim_wrapper, param_scheduler=shipped.param_scheduler,
        default_hooks=shipped.default_hooks,
        experiment_name=f'semantic_edge_detector_{class_agnostic}', default_scope='mmseg',
        log_level=logging.WARNING)
    before = [p.detach().clone() for p in runner.model.parameters()]
    model = runner.train()
    metrics = runner.message_hub.get_scalar('val/edge/F')
    assert 0 <= metrics.current() <= 100
    assert not any(torch.equal(*pair) for pair in zip(model.parameters(), before))
    file = dict(type='Pretrained', checkpoint=str(label_maps / 'run/iter_3.pth'))
    loss = SEMEDALoss(3, init_cfg=file, class_agnostic=class_agnostic)
    loss.init_weights()
    assert loss.edge_net.classes == ('a', 'b', 'c')
    assert same(loss.edge_net.tensors(), model.edge_net.tensors())
    inside = loss.edge_net(torch.eye(3)[:, :, None, None].expand(-1, -1, 9, 9))[0][:, :, 4, 4]
    assert ((inside - inside[:1]).abs().max() < 1e-5) == class_agnostic
    other = SEMEDALoss(3, init_cfg=file, class_agnostic=not class_agnostic)
    with pytest.raises(ValueError, match=f'trained with class_agnostic={class_agnostic}'):
        other.init_weights()


def same(tensors, others):
    return tensors.keys() == others.keys() and all(
        torch.equal(tensors[name], others[name]) for name in tensors)


def test_it_is_built_from_the_size_of_its_network():
    detector = SemanticEdgeDetector(dict(num_classes=5, channels=(4, )))
    assert [tuple(conv.weight.shape) for conv in detector.edge_net.convs] == [
        (4, 5, 3, 3), (2, 4, 3, 3)]
